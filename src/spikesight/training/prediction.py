"""What a trained model sees in pictures and recordings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from spikesight.data import EventPreprocessing, PredictionImages
from spikesight.data.decoding import decode, read_image_file
from spikesight.data.events import draw_frames
from spikesight.files.names import show, show_path
from spikesight.files.own_pictures import OWN_MARK
from spikesight.options import check_arguments, check_range
from spikesight.training.any_form import card_of, load_any
from spikesight.training.checkpoint import Card
from spikesight.training.preparation import build_accelerator

_GUESSES = 5
_COLUMNS = 4
_THUMBNAIL = 256
_TITLE, _LINE = 24, 44  # characters that have room in the sheet
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
    figure = Figure(figsize=(3.0 * columns, 4.2 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 1.4] * rows)
    for axes in grid.flat:
        axes.axis("off")
    for position, prediction in enumerate(shown):
        row, column = divmod(position, columns)
        picture, bars = grid[2 * row, column], grid[2 * row + 1, column]
        rgb = _thumbnail(prediction)
        picture.imshow(rgb, interpolation="nearest" if max(rgb.size) < 64 else None)
        name, probability = prediction.guesses[0]
        title = f"{_fitting(name, _TITLE)}  {probability:.0%}"
        picture.set_title(title, fontsize=11, fontweight="bold", parse_math=False)
        for rank, (guess, value) in enumerate(prediction.guesses):
            bars.barh(rank, value, color="#d9822b" if rank == 0 else "#c9ccd1", height=0.8)
            text = f"{_fitting(guess, _LINE)}  {value:.1%}"
            bars.text(0.02, rank, text, va="center", fontsize=8, parse_math=False)
        bars.set(xlim=(0, 1), ylim=(_GUESSES - 0.5, -0.5))
        file = _fitting(show_path(prediction.file), _LINE)
        bars.set_title(file, fontsize=7, loc="left", color="#555555", parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        metadata = {"Software": OWN_MARK} if path.suffix.lower() == ".png" else None
        figure.savefig(path, dpi=100, metadata=metadata)


def _fitting(name: str, length: int) -> str:
    """A name on one line, its middle left out where it is longer."""
    text = show(name)
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"
