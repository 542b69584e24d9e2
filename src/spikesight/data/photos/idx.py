"""IDX files of images and labels, as MNIST and Fashion-MNIST come."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from spikesight.data.class_lists import check_class_names
from spikesight.data.errors import DataError
from spikesight.data.part_folders import Part
from spikesight.data.sources import ArraySource, check_labels
from spikesight.files.limits import ARRAY_BYTES
from spikesight.files.names import show
from spikesight.files.opening import Readable, open_regular, read_at_most

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
        DataError: The file cannot be read, its head or its length is wrong, or it states more
            bytes than the limit.
    """
    name = show(path)
    with open_regular(path, DataError) as file:
        stream: Readable = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        try:
            return _read_content(stream, name, dimensions)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name}: cannot be read ({error}); fetch the file again") from error


def _read_content(stream: Readable, name: str, dimensions: int) -> Tensor:
    expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    start = 4 + 4 * dimensions
    head = read_at_most(stream, start)
    if head[:4] != expected:
        raise DataError(
            f"{name}: starts with {head[:4].hex() or 'nothing'} where an IDX file of "
            f"{dimensions}-dimensional unsigned bytes starts with {expected.hex()}; check that "
            "images and labels are not exchanged, or fetch the file again"
        )
    if len(head) < start:
        raise DataError(f"{name}: ends inside its head; fetch the file again")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    size = math.prod(shape)
    ARRAY_BYTES.check(size, name, DataError)
    # No more is unpacked than the head states, and a byte that shows that there is more.
    content = bytearray(read_at_most(stream, size + 1))
    if len(content) != size:
        following = f"{len(content)}" if len(content) < size else "more"
        raise DataError(
            f"{name}: its head states {' x '.join(map(str, shape))} bytes but {following} "
            "follow; fetch the file again"
        )
    if not size:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.frombuffer(content, dtype=torch.uint8).view(shape)


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
    if class_names is not None:
        check_class_names(class_names, "data.class_names")
    classes = class_names or [str(label) for label in range(int(labels.max()) + 1)]
    check_labels(labels, classes, str(label_file))
    return ArraySource(images[:, None], labels, classes, str(image_file))
