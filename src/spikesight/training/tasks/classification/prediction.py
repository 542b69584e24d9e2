"""What a trained model sees in pictures and recordings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from spikesight.data import EventPreprocessing, PredictionImages
from spikesight.data.events import draw_film, save_gif
from spikesight.data.photos.decoding import decode, read_image_file
from spikesight.errors import UserError
from spikesight.files.names import show, show_path
from spikesight.files.own_pictures import OWN_MARK
from spikesight.files.printing import print_table
from spikesight.files.replacing import explained
from spikesight.files.writing import distinct_stems, place_for_file
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.options import PredictionOptions
from spikesight.training.tasks.prediction_page import Album, Seen
from spikesight.training.tasks.prediction_tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GUESSES = 5
_COLUMNS = 4
_THUMBNAIL = 256
_TITLE, _GUESS, _FILE = 22, 36, 48  # characters that have room in the sheet
# Inches in the sheet: a cell's width and height, its border, the picture and a bar.
_CELL = (3.0, 4.2)
_MARGIN, _PICTURE, _BAR = 0.1, 2.45, 0.21
SHEET_PICTURES = 40
"""Most pictures of a contact sheet."""
SHEET_ENDINGS = (".png", ".jpg", ".pdf", ".svg", ".jpeg", ".webp", ".tif", ".tiff", ".eps", ".ps")
"""Of the formats that matplotlib writes those that people use."""


@dataclass(frozen=True)
class Prediction:
    """What a model sees in one picture or recording.

    Attributes:
        file: The picture or recording.
        guesses: Up to five pairs of class name and probability, the most probable first.
        frames: Of a recording the counts [T, C, H, W] that the model saw.
    """

    file: Path
    guesses: list[tuple[str, float]]
    frames: Tensor | None = None


@torch.no_grad()
def predict(
    folder: Path,
    images: list[Path],
    options: PredictionOptions = PredictionOptions(),  # noqa: B008  it is frozen
) -> list[Prediction]:
    """Guesses what pictures or recordings show.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        images: Image files (recordings, if the model learned from events), and folders that are
            searched for them.
        options: How they are looked at; the picture that is going to be written is no input.

    Returns:
        One prediction per picture; pictures that predict wrote are left out.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If a picture or folder cannot be read.
    """
    card = Card.read(card_of(folder, options.run))
    card.seen(options.view)  # refuses one
    preprocessing = card.preprocessing
    accelerator = build_accelerator(device=options.device)
    reader = PredictionImages(
        images, preprocessing, options.batch_size, options.on_corrupt, options.pictures
    )
    model = load_any(folder).to(accelerator.device)
    predictions = []
    for files, batch in reader:
        probabilities = model(batch.to(accelerator.device)).float().softmax(1).cpu()
        best = probabilities.topk(min(_GUESSES, probabilities.shape[1]), dim=1)
        frames = batch if isinstance(preprocessing, EventPreprocessing) else [None] * len(files)
        for file, seen, values, indices in zip(
            files, frames, best.values, best.indices, strict=True
        ):
            guesses = [
                (_class_name(preprocessing.classes, int(index)), float(value))
                for value, index in zip(values, indices, strict=True)
            ]
            predictions.append(Prediction(file, guesses, seen))
    return predictions


def show_guesses(folder: Path, files: list[Path], options: PredictionOptions) -> None:
    """Guesses, a contact sheet, GIFs of recordings and a table, as `Task.predict`."""
    from rich.table import Table
    from rich.text import Text

    pictures, table = options.pictures, options.table
    if pictures is not None:
        place_for_file(pictures, "output", SHEET_ENDINGS)
    predictions = predict(folder, files, options)
    if not predictions:
        raise UserError("none of the images could be read")
    shown_guesses = Table("image", "first guess", "others")
    for prediction in predictions:
        (first, share), *others = prediction.guesses
        rest = ", ".join(f"{name} {value:.1%}" for name, value in others)
        cells = (show_path(prediction.file), show(f"{first} {share:.1%}"), show(rest))
        shown_guesses.add_row(*map(Text, cells))
    print_table(shown_guesses)
    if table is not None:
        write_guesses(predictions, table)
        print(f"guesses in {show(table)}")
    album = Album(options.html, "Below each picture: its guesses and how sure it is of them.")
    for prediction in predictions:
        if album.wants():
            (first, share), *_ = guesses = prediction.guesses
            says = f"{show(first)} {share:.1%}"
            album.add(Seen(prediction.file, None, _thumbnail(prediction), says, guesses))
    album.write(folder, len(predictions))
    if pictures is None:
        return
    draw_contact_sheet(predictions, pictures)
    count = len(predictions)
    cut = f" (the first {SHEET_PICTURES} of {count:,})" if count > SHEET_PICTURES else ""
    print(f"pictures in {show(pictures)}{cut}")
    recordings = [p for p in predictions if p.frames is not None]
    stems = distinct_stems([prediction.file for prediction in recordings])
    for prediction, stem in zip(recordings, stems, strict=True):
        assert prediction.frames is not None
        gif = pictures.with_name(f"{pictures.stem}_{stem}.gif")
        print(f"frames in {show(save_gif(prediction.frames, gif))}")


def _class_name(classes: Sequence[str], index: int) -> str:
    return classes[index] if index < len(classes) else str(index)


def _thumbnail(prediction: Prediction) -> Image.Image:
    """The picture, upright as the model saw it, or all frames of a recording in one."""
    if prediction.frames is not None:
        return draw_film(prediction.frames)
    image = decode(read_image_file(prediction.file), str(prediction.file), 3)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return image


def write_guesses(predictions: Sequence[Prediction], path: Path) -> None:
    """Writes the guesses for every picture, the most probable first, as CSV or JSON."""
    most = max((len(p.guesses) for p in predictions), default=1)
    columns = ["file", "class", "probability"]
    for rank in range(2, most + 1):
        columns += [f"class_{rank}", f"probability_{rank}"]
    rows: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for prediction in predictions:
        file = show_path(prediction.file)
        guesses = [(show(name), round(share, 6)) for name, share in prediction.guesses]
        records.append(
            {"file": file, "guesses": [{"class": n, "probability": p} for n, p in guesses]}
        )
        values = [file, *(value for guess in guesses for value in guess)]
        rows.append(dict(zip(columns, values, strict=False)))
    write_table(path, columns, rows, records)


def draw_contact_sheet(predictions: Sequence[Prediction], path: Path) -> None:
    """Draws pictures in a grid, a bar for every guess; the path's ending says the format."""
    from matplotlib.figure import Figure

    shown = predictions[:SHEET_PICTURES]
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = _CELL
    figure = Figure(figsize=(width * columns, height * rows))
    # One pair of axes in inches for everything: hundreds of them take half a minute.
    axes = figure.add_axes((0, 0, 1, 1))
    for position, prediction in enumerate(shown):
        row, column = divmod(position, columns)
        _draw_cell(axes, prediction, column * width + _MARGIN, row * height)
    axes.set(xlim=(0, width * columns), ylim=(height * rows, 0))
    axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), explained(path):
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        ending = path.suffix.lower()
        marks: dict[str, Any] = {}
        if ending == ".png":
            marks = {"metadata": {"Software": OWN_MARK}}
        elif ending in (".jpg", ".jpeg"):
            marks = {"pil_kwargs": {"comment": OWN_MARK}}
        figure.savefig(path, dpi=100, **marks)


def _draw_cell(axes: Axes, prediction: Prediction, left: float, top: float) -> None:
    """Draws a picture, its best guess above it, and below it its name and a bar for every guess."""
    from matplotlib.patches import Rectangle

    room = _CELL[0] - 2 * _MARGIN
    name, probability = prediction.guesses[0]
    title = f"{_fitting(name, _TITLE)}  {probability:.0%}"
    style: dict[str, Any] = {"va": "center", "parse_math": False}
    axes.text(
        left + room / 2, top + 0.25, title, fontsize=11, fontweight="bold", ha="center", **style
    )
    rgb = _thumbnail(prediction)
    factor = min(room / rgb.width, _PICTURE / rgb.height)
    width, height = rgb.width * factor, rgb.height * factor
    x, y = left + (room - width) / 2, top + 0.4 + (_PICTURE - height) / 2
    axes.imshow(
        rgb,
        extent=(x, x + width, y + height, y),
        aspect="auto",
        interpolation="nearest" if max(rgb.size) < 64 else None,
    )
    y = top + 0.55 + _PICTURE
    file = _fitting(show_path(prediction.file), _FILE)
    axes.text(left, y, file, fontsize=7, color="#555555", **style)
    for rank, (guess, value) in enumerate(prediction.guesses):
        y += _BAR
        colour = "#d9822b" if rank == 0 else "#c9ccd1"
        bar = Rectangle((left, y - 0.4 * _BAR), value * room, 0.8 * _BAR, color=colour)
        axes.add_patch(bar)
        text = f"{_fitting(guess, _GUESS)}  {value:.1%}"
        axes.text(left + 0.05, y, text, fontsize=8, **style)


def _fitting(name: str, length: int) -> str:
    """A name on one line, its middle left out where it is longer."""
    text = show(name)
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"
