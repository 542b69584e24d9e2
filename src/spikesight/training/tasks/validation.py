"""Trained models of any task: measuring them, and inputs for whatever looks at them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.data import EventPreprocessing
from spikesight.data.config import Split
from spikesight.data.detection import EventObjectPreprocessing
from spikesight.data.prediction import find_images, read_enough
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import card_of, load_any, resolve_model_folder
from spikesight.training.runs.preparation import build_accelerator
from spikesight.training.tasks.base import take
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.options import ValidationOptions

_NOISY = 6
_LARGEST_COUNT = 127  # of the grid on which counts are whole numbers
_ANY_PHOTOS = "--photos=FOLDER with any photos"


def validate(
    folder: Path,
    options: ValidationOptions = ValidationOptions(),  # noqa: B008  it is frozen
    model: nn.Module | None = None,
) -> Figures:
    """Measures a trained model as its task does; with torchrun on several devices.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        options: What it is measured on, and how.
        model: What is measured in its place, such as another form of it.

    Returns:
        The figures of its task.

    Raises:
        FileNotFoundError: If there is no trained model.
        UserError: If the data cannot be used or do not fit the model.
    """
    card = Card.read(card_of(folder, options.run))
    card = replace(card, view=card.seen(options.view)).with_data(options.data)
    accelerator = build_accelerator(options.precision, options.device)
    batches = card.kind.evaluation_batches(
        card,
        options.batch_size or card.kind.batch_size,
        options.split,
        accelerator.process_index,
        accelerator.num_processes,
    )
    model = (load_any(folder) if model is None else model).to(accelerator.device)
    with accelerator.autocast():
        return card.kind.measure(model, batches, card, accelerator, options.limit_batches)


def sample_images(
    folder: Path,
    data: dict[str, Any] | None = None,
    count: int = 32,
    split: Split = "validation",
    photos: Path | None = None,
) -> Tensor:
    """Evaluation images as a trained model takes them, spread evenly over the set.

    Photos of a segmenter are resized and cut in the centre to the size of its training crops.

    Args:
        folder: Folder of a run, or its best/ or last/; or a .spk file.
        data: Fields of the data (or scene) configuration that differ from training.
        count: Number of images; all if the set has fewer.
        split: As for `ValidationOptions`.
        photos: A photo (or recording) or a folder of them to take instead, without labels.

    Returns:
        Normalised images [count, C, H, W].

    Raises:
        FileNotFoundError: If there is no trained model.
        UserError: If the data cannot be used or `count` is not positive.
    """
    if count < 1:
        raise UserError(f"images is {count}; pass 1 or more")
    card = Card.read(card_of(folder))
    if photos is None:
        card = card.with_data(data, (_ANY_PHOTOS, f", or {_ANY_PHOTOS} like them"))
        return card.kind.evaluation_inputs(card, count, split)
    steps = card.preprocessing
    found = find_images(photos, steps.suffixes)
    usual = "stop" if card.data is None else card.data.on_corrupt
    images = read_enough(
        lambda position: steps.read_file(found[position]),
        lambda position: str(found[position]),
        len(found),
        count,
        (data or {}).get("on_corrupt", usual),
        show(photos),
    )
    inputs: Tensor = steps.batch_transform(images)
    return inputs


def training_batches(
    folder: Path, data: dict[str, Any] | None = None, count: int = 1024, batch_size: int = 128
) -> list[Tensor]:
    """Training images as a trained model takes them, drawn at random and augmented as in training.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data (or scene) configuration that differ from training.
        count: Number of images; those of one epoch if the set has fewer.
        batch_size: Images per batch; of a segmenter's crops at most 16.

    Returns:
        Normalised batches [B, C, H, W].

    Raises:
        FileNotFoundError: If there is no trained model.
        UserError: If the data cannot be used or `count` is not positive.
    """
    if count < 1:
        raise UserError(f"images is {count}; pass 1 or more")
    card = Card.read(resolve_model_folder(folder))
    card = card.with_data({**card.kind.sampling, **(data or {})})
    return take(card.kind.training_inputs(card, count, batch_size), count)


def calibration_inputs(
    folder: Path,
    data: dict[str, Any] | None,
    count: int,
    split: Split,
    photos: Path | None,
    recorded: bool = False,
) -> tuple[Tensor, bool]:
    """Normalised inputs that set a network's ranges: from data, photos, or what its card says.

    Args:
        folder: Folder of a model or a run.
        data: Fields of the data configuration that differ from training.
        count: Number of images.
        split: Which images of the data.
        photos: Photos to take instead; a file or folder.
        recorded: Whether the ranges are known, so that any inputs will do.

    Returns:
        Inputs [B, C, H, W], or frames [B, T, C, H, W], and whether they are real ones.

    Raises:
        UserError: If the data cannot be used, or are not here and the card does not suffice.
    """
    card = Card.read(card_of(folder))
    if photos is not None or data or card.data_is_here:
        return sample_images(folder, data, count, split, photos), True
    return _extreme_inputs(card.preprocessing, recorded), False


def _extreme_inputs(steps: Any, recorded: bool) -> Tensor:
    """The smallest and the largest value at all pixels, then noise between them."""
    largest = 255
    if isinstance(steps, EventPreprocessing | EventObjectPreprocessing):
        largest = steps.max_count
        if largest > _LARGEST_COUNT and not recorded:
            raise UserError(
                f"the model counts up to {largest} events, so its grid needs real recordings; pass "
                "--data.path=… with its data, or --photos=FOLDER with recordings"
            )
    generator = torch.Generator().manual_seed(0)
    shape = (2 + _NOISY, *steps.input_shape)
    inputs = torch.randint(0, largest + 1, shape, generator=generator)
    inputs[0], inputs[1] = 0, largest
    transformed: Tensor = steps.batch_transform(inputs.to(torch.uint8), None)
    return transformed
