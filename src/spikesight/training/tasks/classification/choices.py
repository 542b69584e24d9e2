"""A configuration for photos in a folder or tar files: what `spikesight train photos/` chooses."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from spikesight.data.config import DataConfig
from spikesight.data.errors import DataError
from spikesight.data.photos.decoding import read_head
from spikesight.data.sampling import EvaluationSampler
from spikesight.data.shards.patterns import holds_shards
from spikesight.data.sources import EncodedSource
from spikesight.data.splits import find_parts
from spikesight.files.names import show
from spikesight.files.shipped import find_weights
from spikesight.pretrained import read_recipe
from spikesight.registry import create_model
from spikesight.training.progress import format_duration
from spikesight.training.runs.folder import resolve_model_folder
from spikesight.training.tasks.base import Choice
from spikesight.training.tasks.choice_words import all_of_it, number_of, run_name
from spikesight.training.training_speed import training_images_per_second

_MODEL, _LEVELS = "metaspikformer_tiny", 16
_SHIPPED = Path("weights", "cifar10_tiny")
_SIZES = (32, 48, 64, 96)  # the weights to start from saw 32 pixels
_LOOKED_AT = 64  # photos
_SEEN = 12_000  # photos in a run, epochs counted
_EPOCHS = (4, 60)
_BATCHES = (8, 128)
_SECONDS = 6 * 60.0
_IN_MEMORY = 1 << 30  # bytes
_VALIDATION_COST = 0.4  # of a training pass


@dataclass(frozen=True)
class _Photos:
    """What was seen of a folder of classes."""

    format: str
    classes: int
    training: int
    validation: int
    validation_fraction: float
    side: float


def choose_for_classes(path: str, asked: Mapping[str, str]) -> Choice:
    """Chooses a configuration for photos in one folder per class.

    Args:
        path: Folder, tar file, or folder or pattern of shards.
        asked: Options of the user by name, such as "model.name", whose values stand.

    Raises:
        DataError: If there are no such photos, or they are all of one class.
        ValueError: If the weights to start from cannot be used.
    """
    photos = _look_at(path, asked)
    model, start = _choose_model(asked)
    usual = _within(round(_SEEN / photos.training), *_EPOCHS)
    epochs = number_of(asked, "epochs", usual)
    batch = number_of(
        asked,
        "batch_size",
        _within(2 ** math.floor(math.log2(max(photos.training / 6, 1))), *_BATCHES),
    )
    built = create_model(
        num_classes=photos.classes,
        in_channels=3,
        **{name: model[name] for name in ("name", "steps", "levels", "neuron") if name in model},
        **model.get("arguments", {}),
    )
    first = -(-_SIZES[0] // built.stride) * built.stride
    speed = training_images_per_second(built, (first, first), batch, asked.get("device", "auto"))
    every = max(1, epochs // 10)
    per_epoch = photos.training + photos.validation * _VALIDATION_COST / every
    usable = [size for size in _SIZES if size % built.stride == 0] or [first]
    large = next((size for size in usable if size >= photos.side), usable[-1])
    fast = [
        s for s in usable if s <= large and usual * per_epoch * (s / first) ** 2 <= _SECONDS * speed
    ]
    size = number_of(asked, "data.image_size", max(fast, default=usable[0]))
    fields: dict[str, Any] = {
        "model": model,
        "output": str(Path("runs", run_name(path))),
        "data": {
            "format": photos.format,
            "image_size": size,
            "channels": 3,
            "validation_fraction": photos.validation_fraction,
            "horizontal_flip": True,
            "random_resized_crop": 0.5,
            "in_memory": (photos.training + photos.validation) * 3 * size**2 <= _IN_MEMORY,
        },
        "optimizer": {"name": "adamw", "lr": round(2e-3 * math.sqrt(batch / 128), 5)},
        "schedule": {"warmup_epochs": round(epochs / 10, 1)},
        "ema": {"decay": 0.99},
        "epochs": epochs,
        "batch_size": batch,
        "label_smoothing": 0.1,
        "precision": "auto",
        "channels_last": True,
        "validate_every": every,
    }
    share = min(1.0, number_of(asked, "limit_batches", 1 << 40) * batch / photos.training)
    seconds = epochs * per_epoch * share * (size / first) ** 2 / speed
    lines = [
        f"{show(path)}: {photos.training + photos.validation} photos of {photos.classes} classes, "
        f"{photos.validation} of them for validation; the shorter side has {photos.side:g} pixels "
        "or so",
        f"chosen: {model['name']}, {start}; {size} x {size} pixels, {epochs} epoch(s) of batches "
        f"of {batch}; about {format_duration(seconds)} here (--epochs, --data.image_size)",
        all_of_it(asked.get("output", fields["output"])),
    ]
    return Choice(fields, lines)


def _look_at(path: str, asked: Mapping[str, str]) -> _Photos:
    usual = "shards" if holds_shards(path) else "folder" if os.path.isdir(path) else "tar"
    kind = asked.get("data.format", usual)
    parts = find_parts(DataConfig(format=kind, path=path))
    if "train" not in parts:
        raise DataError(
            f"{show(path)}: holds {' and '.join(parts)} photos but none for training; add them"
        )
    source = parts["train"]()
    assert isinstance(source, EncodedSource)
    counts = torch.bincount(source.labels, minlength=len(source.classes))
    if len(counts) < 2:
        raise DataError(
            f"{show(path)}: holds one class only ({show(source.classes[0])}), so there is nothing "
            "to tell apart; add a folder of photos for each other class"
        )
    several = [int(count) for count in counts if count > 1]
    kept = parts.get("validation") or parts.get("test")
    if kept is None:
        # A class of two or more photos keeps one for validation.
        fraction = max(0.2, round(0.51 / min(several, default=2), 3))
        if "data.validation_fraction" in asked:
            fraction = float(asked["data.validation_fraction"])
        elif not several:
            raise DataError(
                f"{show(path)}: each class has one photo only, none is left for validation; add "
                "photos, or folders train/ and val/ with the classes in each"
            )
        validation = sum(round(fraction * int(count)) for count in counts)
        training = len(source.labels) - validation
    else:
        fraction, validation, training = 0.0, len(kept().labels), len(source.labels)
    sides = []
    for position in EvaluationSampler(len(source.labels)).positions[:_LOOKED_AT]:
        member = int(source.positions[position])
        name = source.archive.describe(member)
        sides.append(min(read_head(source.archive.read(member), name).size))
    return _Photos(kind, len(counts), max(training, 1), validation, fraction, median(sides))


def _choose_model(asked: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Fields of the model, and what it starts from in words."""
    weights = asked.get("model.weights", asked.get("from"))
    if weights is None:
        own = {"name", "levels", "steps", "neuron", "arguments"}
        if any(word.startswith("model.") and word.split(".")[1] in own for word in asked):
            name = asked.get("model.name", _MODEL)
            return {"name": name}, "from scratch"
        is_here = (_SHIPPED / "model.safetensors").is_file()
        shipped = _SHIPPED if is_here else find_weights(_SHIPPED)
        if shipped is None:
            return {"name": _MODEL, "levels": _LEVELS}, "from scratch, as no weights are here"
        weights = str(shipped)
    recipe = read_recipe(resolve_model_folder(weights))
    arguments = dict(recipe.arguments)
    model = {name: arguments.pop(name, None) for name in ("steps", "levels", "neuron")}
    with torch.device("meta"):
        plain = create_model(recipe.name, **model).recipe["arguments"]
    model |= {"name": recipe.name, "weights": weights}
    changed = {
        name: value
        for name, value in arguments.items()
        if name not in ("num_classes", "in_channels", "drop_path_rate")
        and (name not in plain or _comparable(plain[name]) != _comparable(value))
    }
    if changed:
        model["arguments"] = changed
    if recipe.quantization is not None:
        model |= dict(recipe.quantization)
    return model, f"starting from {show(weights)}"


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _within(number: int, least: int, most: int) -> int:
    return max(least, min(number, most))
