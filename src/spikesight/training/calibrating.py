"""What deployment must know of real inputs, recorded beside a trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikesight.deployment.calibration_file import measure_calibration, write_calibration
from spikesight.pretrained import load
from spikesight.training.runs.card import Card
from spikesight.training.runs.folder import resolve_model_folder
from spikesight.training.tasks.validation import sample_images

_MOST, _FEWEST = 256, 8
_MOST_NUMBERS = 2**22  # of all inputs: 28 photos of 224 x 224 pixels
_BATCH = 64


def record_calibration(
    folder: str | Path,
    data: Mapping[str, Any] | None = None,
    photos: Path | None = None,
    images: int | None = None,
) -> None:
    """Measures a trained model on validation images and writes calibration.safetensors beside it.

    Training does so when it ends; this is for models that were trained before.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data configuration that differ from training.
        photos: A photo or recording, or a folder of them, to take instead; without labels.
        images: Number of images; 256 of up to 73 x 73 pixels in colour and fewer of larger ones,
            but 8, if omitted.

    Raises:
        FileNotFoundError: If there is no trained model.
        UntraceableError: If the model has no graph, and so cannot be deployed.
        UserError: If the data cannot be used.
    """
    place = resolve_model_folder(folder)
    card = Card.read(place)
    if images is None:
        fitting = _MOST_NUMBERS // math.prod(card.preprocessing.input_shape)
        images = min(_MOST, max(_FEWEST, fitting))
    fields = {**card.kind.sampling, **(data or {})}
    if hasattr(card.data, "in_memory"):  # few images are needed: they are decoded one by one
        fields = {"in_memory": False, **fields}
    inputs = sample_images(place, fields, images, "validation", photos)
    write_calibration(place, measure_calibration(load(place), inputs.split(_BATCH)))
