"""libspk as Python calls it: what native/libspk/include/spk.h declares."""

from __future__ import annotations

import ctypes
import functools

from spikesight.native.library import find_library, is_off

# Of native/libspk/include/spk.h; a library of another number was built from other sources.
INTERFACE = 1
NO_MEMORY, INTERNAL = 6, 7
LOGIT_AXES = 4

OBSERVER = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t
)


class Options(ctypes.Structure):
    """spk_options."""

    _fields_ = (
        ("batch", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("frames", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("kernels", ctypes.c_char_p),
        ("form", ctypes.c_char_p),
    )


class Output(ctypes.Structure):
    """spk_output."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("scale", ctypes.c_double),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * LOGIT_AXES),
    )


class Neuron(ctypes.Structure):
    """spk_neuron."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("levels", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * LOGIT_AXES),
    )


class Info(ctypes.Structure):
    """spk_info."""

    _fields_ = tuple(
        (name, ctypes.c_int32)
        for name in (
            "steps",
            "channels",
            "stride",
            "max_height",
            "max_width",
            "outputs",
            "neurons",
        )
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it was not built or SPIKESIGHT_NATIVE is "off"."""
    found = find_library("spk", INTERFACE)
    if found is None:
        return None
    pointer, handle = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
    texts, without_result = ("spk_last_error", "spk_kernels"), ("spk_close", "spk_release")
    arguments = {
        "spk_last_error": (),
        "spk_kernels": (),
        "spk_read": (ctypes.c_char_p, ctypes.c_size_t, handle),
        "spk_open": (ctypes.c_char_p, handle),
        "spk_close": (pointer,),
        "spk_describe": (pointer, ctypes.POINTER(Info)),
        "spk_prepare": (pointer, ctypes.POINTER(Options), handle),
        "spk_release": (pointer,),
        "spk_output_of": (pointer, ctypes.c_int32, ctypes.POINTER(Output)),
        "spk_neuron_of": (pointer, ctypes.c_int32, ctypes.POINTER(Neuron)),
        "spk_run": (pointer, pointer, handle),
        "spk_observe": (pointer, OBSERVER, pointer),
    }
    for name, types in arguments.items():
        function = getattr(found, name)
        function.argtypes = types
        function.restype = None
        if name not in without_result:
            function.restype = ctypes.c_char_p if name in texts else ctypes.c_int
    return found


def kernels() -> list[str]:
    """What networks can run on here, the fastest first; empty where there is no library."""
    found = library()
    return [] if found is None else str(found.spk_kernels().decode()).split()


def missing() -> str:
    """Why there is no library, and what to do."""
    if is_off():
        return "libspk is switched off by SPIKESIGHT_NATIVE=off"
    return "libspk was not built; install spikesight where there is a C++ compiler"
