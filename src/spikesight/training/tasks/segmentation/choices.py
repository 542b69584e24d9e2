"""A configuration for a folder of photos and masks: what `spikesight train scenes/` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from spikesight.data.errors import DataError
from spikesight.data.photos.decoding import read_head, read_image_file
from spikesight.data.sampling import EvaluationSampler
from spikesight.data.segmentation.files import read_index_mask
from spikesight.files.names import show
from spikesight.files.walking import walk
from spikesight.registry import create_model
from spikesight.training.progress import format_duration
from spikesight.training.tasks.base import Choice
from spikesight.training.tasks.choice_words import all_of_it, number_of
from spikesight.training.training_speed import training_images_per_second

_MODEL, _LEVELS = "spike_fpn_nano", 4
_SHORTER_SIDE = 176  # pixels of a crop
_LOOKED_AT = 64  # photos
_MASKS = 2_000  # in which class numbers are looked for
_VOID = 255
_SOME_CLASSES = 12  # where the format has its own
_EPOCHS = (3, 30)
_SECONDS = 6 * 60.0


def choose_for_masks(path: str, asked: Mapping[str, str]) -> Choice:
    """Chooses a configuration for train/ and val/ with images/ and labels/ each.

    Args:
        path: The folder.
        asked: Options of the user by name, such as "model.name", whose values stand.

    Raises:
        DataError: If there are no such photos.
    """
    folder = Path(path)
    if not (folder / "train" / "images").is_dir() or not (folder / "val" / "images").is_dir():
        raise DataError(
            f"{show(path)}: photos with masks lie in train/images, train/labels, val/images and "
            "val/labels; move a fifth or so of the pairs into val/ and the others into train/"
        )
    photos = _files(folder / "train" / "images")
    validation = len(_files(folder / "val" / "images"))
    sizes = [read_head(read_image_file(p), str(p)).size for p in _spread(photos, _LOOKED_AT)]
    shorter = int(median(min(size) for size in sizes))
    aspect = median(width / height for width, height in sizes)
    names = _class_names(folder, asked)
    name = asked.get("model.name", _MODEL)
    # A ReLU takes no levels; the model's own default stands.
    model = {"name": name} | ({} if asked.get("model.neuron") == "relu" else {"levels": _LEVELS})
    known = names.get("class_names")
    classes = _SOME_CLASSES if known is None else max(2, len(known))
    built = create_model(name, num_classes=classes, levels=_LEVELS)
    crop = _crop(min(shorter, _SHORTER_SIDE), aspect, built.stride)
    speed = training_images_per_second(built, crop, 4, asked.get("device", "auto"))
    fits = round(_SECONDS * speed / (len(photos) + 0.1 * validation))
    epochs = number_of(asked, "epochs", max(_EPOCHS[0], min(fits, _EPOCHS[1])))
    batch = number_of(asked, "batch_size", max(2, min(8, len(photos) // 4)))
    side = min(crop)
    fields: dict[str, Any] = {
        "task": asked.get("task", "semantic"),
        "model": model,
        "output": str(Path("runs", folder.resolve().name or "scenes")),
        "scenes": {
            **names,
            "crop_size": list(crop),
            "base_short_side": side,
            "scale_range": [0.75, 2.0],
            "flip": True,
            "photometric_distortion": True,
            "evaluation_size": [side, 4 * side],
        },
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.005},
        "schedule": {"name": "poly", "power": 1.0, "warmup_epochs": round(epochs / 10, 1)},
        "epochs": epochs,
        "batch_size": batch,
        "clip_norm": 1.0,
        "precision": "auto",
        "channels_last": True,
        "validate_every": max(1, epochs // 5),
    }
    share = min(1.0, number_of(asked, "limit_batches", 1 << 40) * batch / len(photos))
    seconds = epochs * len(photos) * share / speed
    lines = [
        f"{show(path)}: {len(photos)} photos with masks to learn from and {validation} for "
        f"validation, {'classes of CamVid' if known is None else f'{len(known)} classes'}"
        + (", 255 ignored" if "ignore_label" in names else ""),
        f"chosen: {name}, from scratch; crops of {crop[1]} x {crop[0]} pixels, {epochs} "
        f"epoch(s) of batches of {batch}; about {format_duration(seconds)} here (--epochs, "
        "--scenes.crop_size)",
    ]
    if known is not None and "scenes.class_names" not in asked:
        lines.append(
            "the classes have no names: they are called by their numbers "
            "(--scenes.class_names=[road,sky])"
        )
    lines.append(all_of_it(asked.get("output", fields["output"])))
    return Choice(fields, lines)


def holds_masks(path: str) -> bool:
    """Whether a folder holds photos and masks: images/ and labels/ side by side, maybe in parts."""
    places = chain([Path(path)], (Path(path, part) for part in ("train", "val")))
    return any((place / "images").is_dir() and (place / "labels").is_dir() for place in places)


def _class_names(folder: Path, asked: Mapping[str, str]) -> dict[str, Any]:
    """Fields of the scenes that say what the masks' numbers mean."""
    if "scenes.format" in asked:
        return {"format": asked["scenes.format"]}
    if (folder / "label_colors.txt").is_file():
        return {"format": "folder"}
    numbers: set[int] = set()
    for part in ("train", "val"):
        for mask in _spread(_files(folder / part / "labels"), _MASKS):
            numbers |= set(np.unique(read_index_mask(mask)).tolist())
    if "camvid" in folder.resolve().name.lower() and max(numbers) <= 11:
        return {"format": "camvid"}
    void = {_VOID} & numbers
    count = max(numbers - void, default=0) + 1
    fields: dict[str, Any] = {
        "format": "folder",
        "class_names": [f"class {number}" for number in range(count)],
    }
    return fields | ({"ignore_label": _VOID} if void else {})


def _files(folder: Path) -> list[Path]:
    files = [folder / name for name in walk(folder, error=DataError).files]
    if not files:
        raise DataError(f"{show(folder)}: holds no file; add photos and masks, or another folder")
    return files


def _spread(files: list[Path], most: int) -> list[Path]:
    return [files[position] for position in EvaluationSampler(len(files)).positions[:most]]


def _crop(shorter: int, aspect: float, stride: int) -> tuple[int, int]:
    """Height and width whose shorter side is at most `shorter`, or one stride."""
    short = max(1, shorter // stride) * stride
    long = max(1, round(short * min(max(aspect, 1 / aspect), 1.5) / stride)) * stride
    return (short, long) if aspect >= 1 else (long, short)
