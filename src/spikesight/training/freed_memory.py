"""Whether what a training step frees on a CPU stays with the process, for the next step."""

from __future__ import annotations

import ctypes
import os
import platform

# Of glibc's malloc.h.
_FAST_BINS, _TRIM_THRESHOLD, _MMAP_THRESHOLD = 1, -1, -3
_LARGEST_TENSOR = 2**30
_RETURNED = 2**20
_NEVER = 2**31 - 1
_CACHED_SIZES, _CACHED_BLOCKS = range(8, 256, 16), 8


def keep_freed_memory() -> bool:
    """Has the C library keep freed memory, up to blocks of 1 GiB, and not return it at once.

    Otherwise glibc gives large tensors back to the system in every step, which hands them out
    again page by page, each filled with zeros, which takes a notable part of the step. It holds
    for the whole process. The peak of memory may grow, since blocks lie between others.

    Returns:
        Whether it does; not where the C library is another one, or where MALLOC_MMAP_THRESHOLD_,
        MALLOC_TRIM_THRESHOLD_ or GLIBC_TUNABLES say what it shall do.
    """
    if not _may_choose():
        return False
    library = ctypes.CDLL(None)
    if not library.mallopt(_MMAP_THRESHOLD, _LARGEST_TENSOR):
        return False
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    library.mallopt(_FAST_BINS, 0)
    _fill_cache(library)
    return True


def return_blocks_at_once() -> bool:
    """Has the C library give back blocks of 1 MB and more as soon as they are freed.

    No freed block then lies between others, so that the peak of memory is that of what is in use;
    every tensor's pages are filled with zeros first, which takes time. It holds for the whole
    process.

    Returns:
        Whether it does; not where `keep_freed_memory` would not.
    """
    return _may_choose() and bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _RETURNED))


def _may_choose() -> bool:
    asked = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
    return platform.libc_ver()[0] == "glibc" and not any(os.environ.get(name) for name in asked)


def _fill_cache(library: ctypes.CDLL) -> None:
    """Fills the cache of small blocks.

    What is cut off a tensor to align it would else go there and not be joined with the tensor again
    when that is freed, so that the next tensor of its size would not fit into its place.
    """
    allocate, free = library.malloc, library.free
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    free.argtypes = [ctypes.c_void_p]
    blocks = [allocate(size) for size in _CACHED_SIZES for _ in range(_CACHED_BLOCKS)]
    for block in blocks:
        free(block)


def return_freed_memory() -> None:
    """Gives the system what `keep_freed_memory` has kept so far."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
