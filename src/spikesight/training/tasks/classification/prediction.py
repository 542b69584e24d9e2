"""What a trained model sees in pictures and recordings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from PIL import Image
from torch import Tensor

from spikesight.data import EventPreprocessing, PredictionImages
from spikesight.data.events import draw_frames
from spikesight.data.photos.decoding import decode, read_image_file
from spikesight.files.names import show, show_path
from spikesight.files.own_pictures import OWN_MARK
from spikesight.files.replacing import explained
from spikesight.options import check_arguments, check_range
from spikesight.training.runs.any_form import card_of, load_any
from spikesight.training.runs.checkpoint import Card
from spikesight.training.runs.preparation import build_accelerator

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
    batch_size: int = 64,
    device: Literal["auto", "cpu"] = "auto",
    on_corrupt: Literal["stop", "skip"] = "stop",
    sheet: Path | None = None,
    run: Path | None = None,
) -> list[Prediction]:
    """Guesses what pictures or recordings show.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        images: Image files (recordings, if the model learned from events), and folders that are
            searched for them.
        batch_size: Images per forward pass.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable image ends the call or is left out.
        sheet: A picture that is going to be written, which is no input.
        run: Folder of the run whose card says how inputs are prepared and what the classes are
            called; the model's own if omitted.

    Returns:
        One prediction per picture; pictures that predict wrote are left out.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If a picture or folder cannot be read.
    """
    check_arguments(predict, {"device": device, "on_corrupt": on_corrupt})
    check_range("batch_size", batch_size, least=1)
    preprocessing = Card.read(card_of(folder, run)).preprocessing
    accelerator = build_accelerator(device=device)
    reader = PredictionImages(images, preprocessing, batch_size, on_corrupt, sheet)
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


def _class_name(classes: Sequence[str], index: int) -> str:
    return classes[index] if index < len(classes) else str(index)


def _thumbnail(prediction: Prediction) -> Image.Image:
    """The picture, upright as the model saw it, or all frames of a recording in one."""
    if prediction.frames is not None:
        return draw_frames(prediction.frames.sum(0, keepdim=True))[0]
    image = decode(read_image_file(prediction.file), str(prediction.file), 3)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return image


def draw_contact_sheet(
    predictions: Sequence[Prediction], path: Path, limit: int = SHEET_PICTURES
) -> None:
    """Draws pictures in a grid, each with a bar for every guess.

    Args:
        predictions: What to draw.
        path: Picture to write; its ending says the format.
        limit: Most pictures to draw.
    """
    from matplotlib.figure import Figure

    shown = predictions[:limit]
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
