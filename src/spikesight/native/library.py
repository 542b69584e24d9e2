"""Finds the library of native kernels and says what it is."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import warnings
from pathlib import Path

# Of native/training/dispatch.cpp; a library of another number was built from other sources.
INTERFACE = 3
# Python would take a file that ends in .so for a module.
FILE_NAME = "libspikesight.dylib" if sys.platform == "darwin" else "libspikesight.so.1"


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it was not built or SPIKESIGHT_NATIVE is "off".

    SPIKESIGHT_NATIVE can also name the instruction set: avx512, avx2 or portable.
    """
    if os.environ.get("SPIKESIGHT_NATIVE") == "off":
        return None
    file = Path(__file__).parent / FILE_NAME
    if not file.exists():
        return None
    try:
        found = ctypes.CDLL(str(file))
        built_for = found.spikesight_interface()
    except (OSError, AttributeError) as error:
        warnings.warn(f"the native kernels cannot be loaded: {error}", stacklevel=2)
        return None
    if built_for != INTERFACE:
        warnings.warn(
            f"the native kernels in {file} are of another version (interface {built_for}, "
            f"wanted {INTERFACE}); install spikesight again to build them anew",
            stacklevel=2,
        )
        return None
    found.spikesight_instruction_set.restype = ctypes.c_char_p
    return found


def form() -> str:
    """How neurons are computed on a CPU, in words."""
    found = library()
    if found is not None:
        return f"native kernels ({found.spikesight_instruction_set().decode()})"
    if os.environ.get("SPIKESIGHT_NATIVE") == "off":
        return "PyTorch's operators (SPIKESIGHT_NATIVE=off)"
    return (
        "PyTorch's operators, several times slower: the native kernels were not built; install "
        "spikesight where there is a C++ compiler"
    )
