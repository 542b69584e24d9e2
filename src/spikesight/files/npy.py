"""NumPy arrays of strangers: numbers, or structs of numbers, no more of them than the head says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.errors import UserError
from spikesight.files.opening import read_at_most

_NUMBERS = "biuf"


def read_npy(stream: BinaryIO, size: int, *, structs: bool = False) -> NDArray[Any]:
    """Reads an array in NumPy's format, without pickled objects.

    Args:
        stream: At its begin; what it and NumPy raise of a damaged head is passed on.
        size: Bytes that it holds.
        structs: Whether the elements may be structs, whose fields are numbers.

    Raises:
        UserError: It is of another version or kind, or holds another number of elements than its
            head states.
    """
    version = np.lib.format.read_magic(stream)
    read_head = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_head is None:
        raise UserError(f"is of version {version}")
    shape, fortran, kind = read_head(stream)
    if any(part.kind not in _NUMBERS for part in _parts(kind, structs)):
        raise UserError(f"holds {kind} and no numbers")
    stated = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or stated > size:
        raise UserError(f"states {shape} numbers, more than it holds")
    content = read_at_most(stream, stated + 1)
    if len(content) != stated:
        raise UserError(f"states {shape} numbers, and holds another number of them")
    flat = np.frombuffer(bytearray(content), kind)
    return flat.reshape(shape, order="F" if fortran else "C")


def _parts(kind: np.dtype[Any], structs: bool) -> Iterator[np.dtype[Any]]:
    if structs and kind.names:
        yield from (kind[name] for name in kind.names)
    else:
        yield kind
