"""Which images train, which validate and which test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import get_args

import torch

from spikesight.data.archives import FolderArchive, TarArchive
from spikesight.data.class_lists import check_class_names
from spikesight.data.config import DataConfig
from spikesight.data.errors import DataError
from spikesight.data.events.layouts import find_event_parts
from spikesight.data.grouping import read_groups
from spikesight.data.own_sets import DATA_SET
from spikesight.data.part_folders import Part
from spikesight.data.photos import cifar, class_folders, idx
from spikesight.data.photos.digits import read_digits
from spikesight.data.photos.drawn_digits import read_drawn_digits
from spikesight.data.photos.painted_digits import read_painted_digits
from spikesight.data.shards import reading as shards
from spikesight.data.sources import ArraySource, EncodedSource, Parts, Source, check_labels
from spikesight.data.stratification import choose_stratified, split_grouped, split_stratified
from spikesight.files.names import check_name
from spikesight.parts import find_part


def find_parts(config: DataConfig) -> Parts:
    """Finds the parts into which a data set is divided on disk.

    Returns:
        For each part that is there a function that reads it.

    Raises:
        DataError: The path does not hold such a data set.
    """
    check_name(config.path, "data.path", DataError)
    match config.format:
        case "folder":
            return class_folders.find_parts(FolderArchive(config.path))
        case "tar":
            return class_folders.find_parts(TarArchive(config.path))
        case "shards":
            return shards.find_parts(config.path, config.class_names)
        case "idx":
            return idx.find_parts(config.path, config.class_names)
        case "digits":
            return {"train": read_digits}
        case "painted_digits":
            return {
                "train": partial(read_painted_digits, "train"),
                "validation": partial(read_painted_digits, "validation"),
            }
        case "drawn_digits":
            return {
                "train": partial(read_drawn_digits, "train"),
                "validation": partial(read_drawn_digits, "validation"),
            }
        case "cifar10_dvs" | "nmnist" | "dvs128_gesture" | "event_folders":
            sensor = config.events.sensor
            return find_event_parts(
                config.format, config.path, None if sensor is None else (sensor[0], sensor[1])
            )
        case "cifar10" | "cifar100":
            return cifar.find_parts(config.path, config.format)
        case own:
            return _check_parts(own, find_part(DATA_SET, own)(config))


def _check_parts(name: str, parts: Parts) -> Parts:
    """Refuses what a registered data set must not be, and lets its sources be checked when read."""
    if not isinstance(parts, Mapping) or not parts or not parts.keys() <= {*get_args(Part)}:
        raise DataError(
            f"data.format {name!r}: its function returned {parts!r:.200}; return a mapping whose "
            f"keys are among {', '.join(get_args(Part))}"
        )
    return {part: partial(_read_checked, name, read) for part, read in parts.items()}


def _read_checked(name: str, read: Callable[[], Source]) -> Source:
    source = read()
    if isinstance(source, ArraySource):
        images = source.images
        if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
            raise DataError(
                f"data.format {name!r}: images are {images.dtype} {tuple(images.shape)}; make them "
                "uint8 [N, 1 or 3, H, W]"
            )
        count = len(images)
    elif isinstance(source, EncodedSource):
        count = len(source.positions)
    else:
        raise DataError(
            f"data.format {name!r}: gave a {type(source).__name__}; give an ArraySource or an "
            "EncodedSource"
        )
    labels = source.labels
    if labels.dtype != torch.int64 or labels.shape != (count,) or not count:
        raise DataError(
            f"data.format {name!r}: {count} images have labels {labels.dtype} "
            f"{tuple(labels.shape)}; make them int64 [N], one per image, and N at least 1"
        )
    check_class_names(source.classes, f"data.format {name!r}")
    check_labels(labels, source.classes, source.name)
    return source


def divide_training(config: DataConfig, source: Source) -> tuple[Source, Source]:
    """Sets a share of the training images aside for validation.

    Returns:
        The images for training and those for validation.

    Raises:
        DataError: Nothing would be left for one of the two.
    """
    fraction, seed = config.validation_fraction, config.split_seed
    if config.groups is None:
        train, validation = split_stratified(source.labels, fraction, seed)
    else:
        groups = read_groups(config.groups, config.path, source)
        train, validation = split_grouped(source.labels, groups, fraction, seed)
    if not len(train) or not len(validation):
        raise DataError(
            f"{source.name}: data.validation_fraction {config.validation_fraction} of "
            f"{len(source.labels)} images leaves {len(train)} for training and "
            f"{len(validation)} for validation; pass another fraction or add images"
        )
    return source.select(train), source.select(validation)


def choose_labelled(config: DataConfig, train: Source) -> Source:
    """Those of the training images whose labels may be read."""
    if config.label_fraction == 1:
        return train
    return train.select(choose_stratified(train.labels, config.label_fraction, config.label_seed))


def read_splits(config: DataConfig) -> tuple[Source, Source, Source | None]:
    """Reads the training, validation and test images.

    With a `validation_fraction` the validation images are split from the training images, and
    the test images are those that the data set keeps back. Without, the validation images are
    those of `val/`, or else those that the data set keeps for testing; then no test is left.

    Returns:
        Training, validation and, if there are any left, test images.

    Raises:
        DataError: A part is missing or empty.
    """
    parts = find_parts(config)
    if "train" not in parts:
        raise DataError(
            f"{config.path}: holds {' and '.join(parts)} images but none for training; add them"
        )
    train = parts["train"]()
    if config.validation_fraction > 0:
        train, validation = divide_training(config, train)
        rest = parts.get("test") or parts.get("validation")
        return train, validation, rest() if rest else None
    kept = parts.get("validation") or parts.get("test")
    if kept is None:
        raise DataError(
            f"{train.name}: keeps no images for validation; pass data.validation_fraction, such "
            "as 0.1, to split them from the training images"
        )
    return train, kept(), parts["test"]() if {"validation", "test"} <= parts.keys() else None
