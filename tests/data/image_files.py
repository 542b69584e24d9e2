"""Makes small image files and archives of them."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("cat", "dog")


def encode(
    colour: object = (200, 30, 30),
    size: tuple[int, int] = (12, 10),
    mode: str = "RGB",
    kind: str = "PNG",
    seed: int | None = None,
) -> bytes:
    if seed is None:
        image = Image.new(mode, size, colour)  # type: ignore[arg-type]
    else:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        image = Image.fromarray(pixels).convert(mode)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def write_classes(folder: Path, per_class: int = 5, size: tuple[int, int] = (12, 10)) -> Path:
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            content = encode(size=size, seed=100 * number + i)
            (folder / name / f"{i:02}.png").write_bytes(content)
    return folder


def write_tar(path: Path, folder: Path, prefix: str = "./", mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, prefix)
    return path


def idx(array: NDArray[Any]) -> bytes:
    """An IDX file of bytes, as MNIST has them."""
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()
