"""Pickles of arrays, lists, names and numbers, read without running anything that they name.

CIFAR comes so. The standard unpickler builds whatever a file names, and a handful of bytes can ask
it for gigabytes; here the instructions are looked through first, and arrays stay plain bytes until
their shapes are known to fit.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.data.errors import DataError
from spikesight.errors import UserError
from spikesight.files.limits import ARRAY_BYTES
from spikesight.files.names import show
from spikesight.files.opening import read_bytes

# Instructions that make containers in containers; a batch has a few of each.
_NESTING = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "REDUCE", "BUILD"})
_MOST_NESTING = 1000
_REMEMBERING = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_MOST_REMEMBERED = 1 << 20
_REFUSED = frozenset(
    {"EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER"}
    | {"EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID"}
)


class _PickledType:
    """A NumPy type as a pickle describes it."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Its byte order and the like, which bytes do not have."""


class PickledArray:
    """An array as a pickle describes it: unchecked shape, type and bytes."""

    def __init__(self) -> None:
        self.kind: Any = None
        self.fortran: Any = False
        self.content: Any = None
        self._shape: Any = ()

    def __setstate__(self, state: Any) -> None:
        """Takes the state of a NumPy array: version, shape, type, order and content."""
        _, self._shape, self.kind, self.fortran, self.content = state

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape that it states; None if that is none."""
        shape = self._shape
        if not isinstance(shape, tuple) or not all(type(side) is int for side in shape):
            return None
        return shape

    def to_bytes(self) -> NDArray[np.uint8]:
        """The array.

        Raises:
            UserError: It does not hold bytes, or another number of them than it states.
        """
        code = self.kind.code if isinstance(self.kind, _PickledType) else None
        content = self.content
        if isinstance(content, str):  # as Python 2 wrote it
            content = content.encode("latin1")
        if (
            code not in ("u1", "|u1", "B")
            or not isinstance(content, bytes | bytearray)
            or self.shape is None
        ):
            raise UserError("its array holds no unsigned bytes")
        if min(self.shape, default=0) < 0 or math.prod(self.shape) != len(content):
            raise UserError(f"its array states {self.shape} bytes but {len(content)} are there")
        order = "F" if self.fortran else "C"
        flat = np.frombuffer(content, np.uint8)
        return flat.reshape(self.shape, order=order).copy("C")  # type: ignore[call-overload, no-any-return]


def _reconstruct(*_: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.__setstate__((1, shape, kind, order == "F", content))
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it encodes something else than bytes")
    return text.encode("latin1")


class _Function:
    """A function that a pickle may call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


_STANDING_IN = {
    ("numpy", "ndarray"): _Function(PickledArray),
    ("numpy", "dtype"): _Function(_PickledType),
    ("numpy.core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _Function(_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): _Function(_from_buffer),
    ("_codecs", "encode"): _Function(_encode),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STANDING_IN:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STANDING_IN[module, name]


def load_arrays(path: Path, kind: str, remedy: str) -> Any:
    """Reads a pickle of arrays, lists, dictionaries, names and numbers.

    Returns:
        What it holds, arrays as `PickledArray`; strings of Python 2 as Latin-1.

    Raises:
        DataError: It cannot be read, is damaged, or holds or does anything else.
    """
    content = read_bytes(path, ARRAY_BYTES, DataError)
    try:
        _check(content)
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    # A damaged pickle can fail in any way that one of its instructions can.
    except Exception as error:
        raise DataError(
            f"{show(path)}: not a readable {kind} ({show(str(error))}); {remedy}"
        ) from error


def _check(content: bytes) -> None:
    """Looks through the instructions for those that need more room than the file has.

    That it gets to the end shows too that what they state the lengths of is there.
    """
    nesting = 0
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in _REFUSED:
            raise pickle.UnpicklingError(f"it has the instruction {operation.name}")
        nesting += operation.name in _NESTING
        if nesting > _MOST_NESTING:
            raise pickle.UnpicklingError("it nests its parts too deep")
        if operation.name in _REMEMBERING and not 0 <= int(argument or 0) < _MOST_REMEMBERED:
            raise pickle.UnpicklingError(f"it remembers {argument} parts")
