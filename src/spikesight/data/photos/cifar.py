"""CIFAR-10 and CIFAR-100 in the layout of torchvision.

torchvision's own reader takes nothing but the original files, by their checksums, and cannot say
which file is damaged; so this one reads the same layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spikesight.data.class_lists import check_class_names
from spikesight.data.errors import DataError
from spikesight.data.part_folders import Part
from spikesight.data.photos.pickled_arrays import PickledArray, load_arrays
from spikesight.data.sources import ArraySource, check_labels


@dataclass(frozen=True)
class _Layout:
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names_file: str
    names_key: str
    labels_key: str


_LAYOUTS = {
    "cifar10": _Layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        "label_names",
        "labels",
    ),
    "cifar100": _Layout(
        "cifar-100-python", ("train",), ("test",), "meta", "fine_label_names", "fine_labels"
    ),
}


def find_parts(
    path: str | Path, name: Literal["cifar10", "cifar100"]
) -> dict[Part, Callable[[], ArraySource]]:
    """Finds the training and test images of CIFAR.

    Args:
        path: The folder that holds `cifar-10-batches-py` or `cifar-100-python`, or that folder.
        name: Which of the two.

    Returns:
        For each part of which a file is there a function that reads it.

    Raises:
        DataError: No file of either part is there.
    """
    layout = _LAYOUTS[name]
    folder = Path(path) / layout.folder
    if not folder.is_dir():
        folder = Path(path)
    files: dict[Part, tuple[str, ...]] = {"train": layout.train, "test": layout.test}
    parts: dict[Part, Callable[[], ArraySource]] = {
        part: partial(_read_part, folder, members, layout)
        for part, members in files.items()
        if any((folder / member).is_file() for member in members)
    }
    if not parts:
        raise DataError(
            f"{path}: holds neither {layout.folder}/{layout.train[0]} nor "
            f"{layout.folder}/{layout.test[0]}; pass the folder into which the python version of "
            "CIFAR was unpacked as data.path"
        )
    return parts


def _load(path: Path) -> dict[Any, Any]:
    if not path.exists():
        raise DataError(f"{path}: missing; unpack the whole of CIFAR again")
    content = load_arrays(path, "CIFAR batch", "unpack the whole of CIFAR again")
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a CIFAR batch; unpack the whole of CIFAR again")
    return content


def _read_names(file: Path, key: str) -> list[str]:
    names = _load(file).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: has no {key!r}, a list of names; unpack the whole of CIFAR again")
    check_class_names(names, str(file))
    return names


def _read_batch(file: Path, labels_key: str, classes: list[str]) -> tuple[Tensor, Tensor]:
    batch = _load(file)
    pixels, labels = batch.get("data"), batch.get(labels_key)
    if (
        not isinstance(pixels, PickledArray)
        or not isinstance(labels, list)
        or pixels.shape != (len(labels), 3 * 32 * 32)
    ):
        raise DataError(
            f"{file}: needs 'data', bytes [N, 3072], and {labels_key!r}, a list of N labels; "
            "unpack the whole of CIFAR again"
        )
    for image, label in enumerate(labels):
        if type(label) is not int or not -(1 << 63) <= label < 1 << 63:
            raise DataError(
                f"{file}: the label of image {image} is no whole number of 64 bits; unpack the "
                "whole of CIFAR again"
            )
    numbers = torch.tensor(labels, dtype=torch.int64)
    check_labels(numbers, classes, str(file))
    try:
        images = torch.from_numpy(pixels.to_bytes()).view(-1, 3, 32, 32)
    except ValueError as error:
        raise DataError(f"{file}: {error}; unpack the whole of CIFAR again") from error
    return images, numbers


def _read_part(folder: Path, members: tuple[str, ...], layout: _Layout) -> ArraySource:
    classes = _read_names(folder / layout.names_file, layout.names_key)
    batches = [_read_batch(folder / name, layout.labels_key, classes) for name in members]
    images, labels = zip(*batches, strict=True)
    return ArraySource(torch.cat(images), torch.cat(labels), classes, str(folder))
