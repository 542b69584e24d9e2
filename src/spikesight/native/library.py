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


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it was not built or SPIKESIGHT_NATIVE is "off".

    SPIKESIGHT_NATIVE can also name the instruction set: avx512, avx2 or portable.
    """
    found = find_library("spikesight", INTERFACE)
    if found is not None:
        found.spikesight_instruction_set.restype = ctypes.c_char_p
    return found


def form() -> str:
    """How neurons are computed on a CPU, in words."""
    found = library()
    if found is not None:
        return f"native kernels ({found.spikesight_instruction_set().decode()})"
    if is_off():
        return "PyTorch's operators (SPIKESIGHT_NATIVE=off)"
    return (
        "PyTorch's operators, several times slower: the native kernels were not built; install "
        "spikesight where there is a C++ compiler"
    )


def find_library(name: str, interface: int) -> ctypes.CDLL | None:
    """A library that was built with the package, or None; one that does not serve is warned of.

    Args:
        name: Without the beginning and ending that the system gives to libraries.
        interface: What the library must say that it was built for.
    """
    file = Path(__file__).parent / file_name(name)
    if is_off() or not file.exists():
        return None
    try:
        found = ctypes.CDLL(str(file))
        built_for = found[f"{name}_interface"]()
    except (OSError, AttributeError) as error:
        warnings.warn(f"{file.name} cannot be loaded: {error}", stacklevel=3)
        return None
    if built_for != interface:
        warnings.warn(
            f"{file} is of another version (interface {built_for}, wanted {interface}); install "
            "spikesight again to build it anew",
            stacklevel=3,
        )
        return None
    return found


def file_name(name: str) -> str:
    """The file of a library; Python would take one that ends in .so for a module."""
    return f"lib{name}.dylib" if sys.platform == "darwin" else f"lib{name}.so.1"


def is_off() -> bool:
    """Whether the user wants no native library."""
    return os.environ.get("SPIKESIGHT_NATIVE") == "off"
