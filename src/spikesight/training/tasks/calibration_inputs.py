"""Inputs to deploy a model on, from its data, from any photos, or from what its card says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikesight.data import EventPreprocessing
from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.training.runs.any_form import card_of
from spikesight.training.runs.checkpoint import Card
from spikesight.training.runs.scene_card import SceneCard, read_any_card
from spikesight.training.tasks.validation import data_is_here, sample_images

_NOISY = 6
_LARGEST_COUNT = 127  # of the grid on which counts are whole numbers


def calibration_inputs(
    folder: Path,
    data: dict[str, Any] | None,
    count: int,
    split: Split,
    photos: Path | None,
) -> tuple[Tensor, bool]:
    """Normalised inputs that set a network's ranges.

    Args:
        folder: Folder of a model or a run.
        data: Fields of the data configuration that differ from training.
        count: Number of images.
        split: Which images of the data.
        photos: Photos to take instead; a file or folder.

    Returns:
        Inputs [B, C, H, W], or frames [B, T, C, H, W], and whether they are real ones.

    Raises:
        UserError: If the data cannot be used, or are not here and the card does not suffice.
    """
    card = read_any_card(card_of(folder))
    if photos is not None or data or data_is_here(card):
        return sample_images(folder, data, count, split, photos), True
    return _extreme_inputs(card), False


def _extreme_inputs(card: Card | SceneCard) -> Tensor:
    """The smallest and the largest value at all pixels, then noise between them."""
    steps = card.preprocessing
    generator = torch.Generator().manual_seed(0)
    largest = 255
    shape: tuple[int, ...]
    if isinstance(steps, EventPreprocessing):
        largest = steps.max_count
        if largest > _LARGEST_COUNT:
            raise UserError(
                f"the model counts up to {largest} events, so its grid needs real recordings; pass "
                "--data.path=… with its data, or --photos=FOLDER with recordings"
            )
        shape = (steps.frames, steps.channels, steps.image_size, steps.image_size)
    elif isinstance(card, SceneCard):
        shape = (3, *card.preprocessing.crop_size)
    else:
        assert isinstance(card, Card)
        size = card.preprocessing.image_size
        shape = (card.preprocessing.channels, size, size)
    inputs = torch.randint(0, largest + 1, (2 + _NOISY, *shape), generator=generator)
    inputs[0], inputs[1] = 0, largest
    return steps.batch_transform(inputs.to(torch.uint8), None)
