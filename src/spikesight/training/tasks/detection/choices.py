"""A configuration for a folder of photos with boxes: what `spikesight train cells/` chooses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from spikesight.data.detection import ObjectConfig, ObjectSource, read_objects
from spikesight.data.detection.layouts import format_of
from spikesight.data.errors import DataError
from spikesight.data.sampling import EvaluationSampler
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.registry import create_model
from spikesight.training.progress import format_duration
from spikesight.training.tasks.base import Choice
from spikesight.training.tasks.choice_words import all_of_it, number_of, run_name
from spikesight.training.tasks.detection.objective import NO_DETECTOR
from spikesight.training.training_speed import training_images_per_second

_MODEL, _LEVELS = "spike_det_nano", 4
_LONGER_SIDE = 320  # pixels of an input
_LOOKED_AT = 24  # photos
_EPOCHS = (5, 150)
_SECONDS = 12 * 60.0
_IN_MEMORY = 1 << 30  # bytes
_VALIDATION_COST = 0.4  # of a training pass


def holds_objects(path: str) -> bool:
    """Whether a folder holds photos with boxes in COCO's, Pascal VOC's or YOLO's format."""
    return os.path.isdir(path) and format_of(Path(path)) is not None


def choose_for_objects(path: str, asked: Mapping[str, str]) -> Choice:
    """Chooses a configuration for photos with boxes.

    Args:
        path: The folder.
        asked: Options of the user by name, such as "model.name", whose values stand.

    Raises:
        DataError: If there are no such photos.
    """
    kind = asked.get("objects.format", asked.get("data.format", format_of(Path(path))))
    if kind is None:
        raise DataError(
            f"{show(path)}: holds no boxes in COCO's, Pascal VOC's or YOLO's format; add their "
            "JSON, XML or text files, or pass another folder"
        )
    config = ObjectConfig(format=kind, path=path)
    train, validation = read_objects(config, "train"), read_objects(config, "val")
    classes = len(train.classes)
    name = asked.get("model.name", _MODEL)
    # A ReLU takes no levels; the model's own default stands.
    model = {"name": name} | ({} if asked.get("model.neuron") == "relu" else {"levels": _LEVELS})
    built = create_model(name, num_classes=classes, levels=_LEVELS)
    if built.gives != "boxes":
        raise UserError(f"model.name is {name}: {NO_DETECTOR}")
    size = _input_size(train, built.stride)
    speed = training_images_per_second(built, size, 4, asked.get("device", "auto"))
    fits = round(_SECONDS * speed / (len(train) + 0.1 * _VALIDATION_COST * len(validation)))
    epochs = number_of(asked, "epochs", max(_EPOCHS[0], min(fits, _EPOCHS[1])))
    batch = number_of(asked, "batch_size", max(2, min(8, len(train) // 4)))
    every = max(1, epochs // 10)
    fields: dict[str, Any] = {
        "task": asked.get("task", "detection"),
        "model": model,
        "output": str(Path("runs", run_name(path))),
        "objects": {
            "format": kind,
            "image_size": list(size),
            "scale_range": [0.75, 1.33],
            "flip": True,
            "photometric_distortion": True,
            "in_memory": len(train) * 3 * size[0] * size[1] <= _IN_MEMORY,
        },
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05},
        "schedule": {"warmup_epochs": round(epochs / 10, 1)},
        "ema": {"decay": 0.99},
        "epochs": epochs,
        "batch_size": batch,
        "clip_norm": 10.0,
        "precision": "auto",
        "channels_last": True,
        "validate_every": every,
    }
    passes = len(train) + len(validation) * _VALIDATION_COST / every
    share = min(1.0, number_of(asked, "limit_batches", 1 << 40) * batch / len(train))
    lines = [
        f"{show(path)}: {kind}, {len(train)} photos with boxes of {classes} classes to learn from "
        f"and {len(validation)} for validation",
        f"chosen: {name}, from scratch; {size[1]} x {size[0]} pixels, {epochs} epoch(s) of "
        f"batches of {batch}; about {format_duration(epochs * passes * share / speed)} here "
        "(--epochs, --objects.image_size)",
    ]
    if train.masks:
        lines.append("the objects have masks too, which a YAML file with task: instances learns")
    lines.append(all_of_it(asked.get("output", fields["output"])))
    return Choice(fields, lines)


def _input_size(source: ObjectSource, stride: int) -> tuple[int, int]:
    """Height and width of inputs that hold most photos without being enlarged."""
    positions = EvaluationSampler(len(source)).positions[:_LOOKED_AT]
    sizes = [source.read(position, False).size for position in positions]
    shape = median(height / width for height, width in sizes)
    longer = min(_LONGER_SIDE, max(stride, round(median(max(size) for size in sizes))))
    height, width = (longer, longer / shape) if shape > 1 else (longer * shape, longer)
    return _multiple(height, stride), _multiple(width, stride)


def _multiple(pixels: float, stride: int) -> int:
    return max(1, -(-round(pixels) // stride)) * stride
