"""CIFAR-10 and CIFAR-100 in the layout of torchvision.

torchvision's own reader takes nothing but the original files, by their checksums, and cannot say
which file is damaged; so this one reads the same layout.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from spikesight.data.errors import DataError
from spikesight.data.sources import ArraySource, Part, check_labels


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


class _ArrayUnpickler(pickle.Unpickler):
    """Loads arrays, lists, strings and numbers; a file that names anything else is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy.core.numeric", "_frombuffer"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing; unpack the whole of CIFAR again") from error
    # A damaged pickle can fail in any way that one of its opcodes can.
    except Exception as error:
        raise DataError(
            f"{path}: not a readable CIFAR batch ({error}); unpack the whole of CIFAR again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a CIFAR batch; unpack the whole of CIFAR again")
    return content


def _read_part(folder: Path, members: tuple[str, ...], layout: _Layout) -> ArraySource:
    names = _load(folder / layout.names_file).get(layout.names_key)
    if not isinstance(names, list):
        raise DataError(
            f"{folder / layout.names_file}: has no {layout.names_key!r}; unpack the whole of "
            "CIFAR again"
        )
    classes = [str(name) for name in names]
    images, labels = [], []
    for member in members:
        batch = _load(folder / member)
        pixels, numbers = batch.get("data"), batch.get(layout.labels_key)
        if (
            not isinstance(pixels, np.ndarray)
            or pixels.dtype != np.uint8
            or pixels.ndim != 2
            or pixels.shape[1] != 3 * 32 * 32
            or not isinstance(numbers, list)
            or len(numbers) != len(pixels)
        ):
            raise DataError(
                f"{folder / member}: needs 'data', bytes [N, 3072], and {layout.labels_key!r}, "
                "a list of N labels; unpack the whole of CIFAR again"
            )
        check_labels(torch.tensor(numbers), classes, str(folder / member))
        images.append(torch.from_numpy(pixels.copy()).view(-1, 3, 32, 32))
        labels.append(torch.tensor(numbers, dtype=torch.int64))
    return ArraySource(torch.cat(images), torch.cat(labels), classes, str(folder))
