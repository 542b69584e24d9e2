"""IDX files of images and labels, as MNIST and Fashion-MNIST come."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.sources import ArraySource, Part, check_labels

_UNSIGNED_BYTE = 0x08
_PREFIXES: dict[Part, str] = {"train": "train", "test": "t10k"}


def find_parts(
    folder: str | Path, class_names: list[str] | None
) -> dict[Part, Callable[[], ArraySource]]:
    """Finds the training and test images in a folder of IDX files.

    Args:
        folder: Holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same two with
            `t10k`, each plain or gzipped (`.gz`).
        class_names: Names of the classes; None numbers them up to the largest label.

    Returns:
        For each part whose images are there a function that reads it.

    Raises:
        DataError: No images are there.
    """
    parts: dict[Part, Callable[[], ArraySource]] = {
        part: partial(_read_part, Path(folder), prefix, class_names)
        for part, prefix in _PREFIXES.items()
        if _find(Path(folder), prefix, "images", 3)
    }
    if not parts:
        raise DataError(
            f"{folder}: holds no train-images-idx3-ubyte or t10k-images-idx3-ubyte file (plain "
            "or .gz); pass the folder of the IDX files as data.path"
        )
    return parts


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Reads one IDX file of unsigned bytes.

    Args:
        path: The file, plain or ending in `.gz`.
        dimensions: Number of dimensions that it must have.

    Returns:
        uint8 tensor of the shape that the file's head states.

    Raises:
        DataError: The head or the length is wrong.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch the file again") from error
    expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if content[:4] != expected:
        raise DataError(
            f"{path}: starts with {content[:4].hex() or 'nothing'} where an IDX file of "
            f"{dimensions}-dimensional unsigned bytes starts with {expected.hex()}; check that "
            "images and labels are not exchanged, or fetch the file again"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: ends inside its head; fetch the file again")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{path}: its head states {' x '.join(map(str, shape))} bytes but "
            f"{len(content) - start} follow; fetch the file again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).view(shape)


def _find(folder: Path, prefix: str, kind: str, dimensions: int) -> Path | None:
    for separator in ("-", "."):
        for suffix in ("", ".gz"):
            path = folder / f"{prefix}-{kind}{separator}idx{dimensions}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def _read_part(folder: Path, prefix: str, class_names: list[str] | None) -> ArraySource:
    image_file = _find(folder, prefix, "images", 3)
    label_file = _find(folder, prefix, "labels", 1)
    assert image_file is not None
    if label_file is None:
        raise DataError(
            f"{folder}: {image_file.name} has no {prefix}-labels-idx1-ubyte file (plain or .gz) "
            "beside it; add it"
        )
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1).long()
    if not images.numel():
        raise DataError(f"{image_file}: holds no image; fetch the file again")
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} holds {len(images)} images but {label_file.name} holds {len(labels)} "
            "labels; take both from the same data set"
        )
    classes = class_names or [str(label) for label in range(int(labels.max()) + 1)]
    check_labels(labels, classes, str(label_file))
    return ArraySource(images[:, None], labels, classes, str(image_file))
