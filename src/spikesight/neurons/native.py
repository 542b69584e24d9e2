"""Neurons by the native kernels: one pass over memory, no intermediate tensors.

Forward equals `recurrence.run_forward` bit for bit. An integer neuron at one time step from rest
keeps one bit an element for the backward pass, every other neuron its input.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import POINTER, c_double, c_int32, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor, nn

from spikesight.native.library import library
from spikesight.neurons.recurrence import Rule, compute_dtype
from spikesight.neurons.surrogate import Arctan, Rectangular, Sigmoid, StraightThrough, Surrogate

STORAGE = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_SURROGATES: dict[type[Surrogate], int] = {Sigmoid: 0, Rectangular: 1, Arctan: 2}
_PLAIN = (Tensor, nn.Parameter)
# Columns that share the bytes of a mask.
_GROUP = 64


class NeuronRule(ctypes.Structure):
    """`NeuronRule` of native/training/neuron_rule.hpp."""

    _fields_ = (
        *((name, c_int32) for name in ("steps", "levels", "ties_even", "hard_reset")),
        *((name, c_int32) for name in ("decay_input", "detach_reset", "surrogate")),
        *((name, c_double) for name in ("threshold", "offset", "unit", "retain", "shape")),
    )


class _ForwardCall(ctypes.Structure):
    _fields_ = (
        ("rule", POINTER(NeuronRule)),
        *((name, c_void_p) for name in ("current", "membrane", "spikes", "last_membrane", "mask")),
        ("columns", c_int64),
        ("storage", c_int32),
    )


class _BackwardCall(ctypes.Structure):
    _fields_ = (
        ("rule", POINTER(NeuronRule)),
        *((name, c_void_p) for name in ("grad_spikes", "grad_last_membrane", "current")),
        *((name, c_void_p) for name in ("membrane", "grad_current", "grad_membrane", "mask")),
        ("columns", c_int64),
        ("storage", c_int32),
    )


def serves(current: Tensor, rule: Rule) -> bool:
    """Says whether the kernels can compute this neuron on this tensor, here."""
    return (
        type(current) in _PLAIN  # others, such as fake tensors, may have no memory
        and current.is_cpu
        and current.dtype in STORAGE
        and _code_of(rule.surrogate) is not None
        and ready() is not None
    )


def keeps_mask(rule: Rule) -> bool:
    """Says whether, from rest, a bit an element is all that the backward pass needs."""
    dynamics = rule.dynamics
    return (
        dynamics.steps == 1
        and not dynamics.decay_input
        and isinstance(rule.surrogate, StraightThrough)
    )


def forward(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
    want_state: bool,
    want_mask: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Fires over time.

    Args:
        current: Shape [T*B, ...]; its memory is T slabs without gaps.
        membrane: Shape [B, ...], in the memory format of a slab, in the compute dtype; None is
            rest.
        retain: The learned share of the membrane kept per time step, or None.
        rule: The neuron.
        want_state: Whether the last membrane is asked for.
        want_mask: Whether the mask is; only of a neuron that `keeps_mask`, from rest.

    Returns:
        Spikes in the current's shape, dtype and memory format; the last membrane, if asked for;
        the mask, if asked for.
    """
    kernels = ready()
    assert kernels is not None
    spikes = torch.empty_like(current)
    steps = rule.dynamics.steps
    columns = current.numel() // steps
    state = None
    if want_state:
        slab = current[: current.shape[0] // steps]
        state = torch.empty_like(slab, dtype=compute_dtype(current.dtype))
    mask = None
    if want_mask:
        mask = torch.empty((columns + _GROUP - 1) // _GROUP * (_GROUP // 8), dtype=torch.uint8)
    call = _ForwardCall(
        said(rule, retain),
        current.data_ptr(),
        address(membrane),
        spikes.data_ptr(),
        address(state),
        address(mask),
        columns,
        STORAGE[current.dtype],
    )
    kernels.spikesight_neuron_forward(ctypes.byref(call), torch.get_num_threads())
    return spikes, state, mask


def backward(
    grad_spikes: Tensor,
    grad_state: Tensor | None,
    current: Tensor | None,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Propagates gradients back through time.

    Args:
        grad_spikes: Gradient of the spikes, in the memory format of the forward's input.
        grad_state: Gradient of the last membrane, in the memory format of a slab, or None.
        current: The forward's input; may be None where there is a mask.
        membrane: The forward's first membrane.
        retain: The forward's learned share, or None.
        rule: The neuron.
        mask: The forward's mask.

    Returns:
        Gradients of the current, of the membrane (None if that was None) and of the learned share
        (None if that was None).
    """
    kernels = ready()
    assert kernels is not None
    grad_current = torch.empty_like(grad_spikes)
    grad_membrane = None if membrane is None else torch.empty_like(membrane)
    call = _BackwardCall(
        said(rule, retain),
        grad_spikes.data_ptr(),
        address(grad_state),
        address(current),
        address(membrane),
        grad_current.data_ptr(),
        address(grad_membrane),
        address(mask),
        grad_spikes.numel() // rule.dynamics.steps,
        STORAGE[grad_spikes.dtype],
    )
    total = None if retain is None else c_double()
    kernels.spikesight_neuron_backward(
        ctypes.byref(call), torch.get_num_threads(), None if total is None else ctypes.byref(total)
    )
    grad_retain = None
    if retain is not None and total is not None:
        grad_retain = torch.tensor(total.value, dtype=retain.dtype)
    return grad_current, grad_membrane, grad_retain


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's memory begins."""
    return None if tensor is None else tensor.data_ptr()


def said(rule: Rule, retain: Tensor | None) -> ctypes._Pointer[NeuronRule]:
    """A neuron as the kernels want to be told of it."""
    said = _rule(rule.code)
    if retain is None:
        return said
    learned = NeuronRule.from_buffer_copy(said.contents)
    learned.retain = retain.item()
    return ctypes.pointer(learned)


@functools.lru_cache(maxsize=1024)
def _rule(code: str) -> ctypes._Pointer[NeuronRule]:
    rule = Rule.from_code(code)
    dynamics = rule.dynamics
    return ctypes.pointer(
        NeuronRule(
            dynamics.steps,
            dynamics.levels,
            dynamics.ties == "even",
            dynamics.reset == "hard",
            dynamics.decay_input,
            rule.detach_reset,
            _code_of(rule.surrogate),
            dynamics.threshold,
            dynamics.offset,
            dynamics.unit,
            dynamics.retain,
            rule.surrogate.parameter,
        )
    )


def _code_of(surrogate: Surrogate) -> int | None:
    if isinstance(surrogate, StraightThrough):
        return 3 if surrogate.closed else 4
    return _SURROGATES.get(type(surrogate))


@functools.cache
def ready() -> ctypes.CDLL | None:
    """The library, with the threads of PyTorch; None where there is none."""
    kernels = library()
    if kernels is None:
        return None
    kernels.spikesight_neuron_forward.argtypes = (POINTER(_ForwardCall), c_int32)
    kernels.spikesight_neuron_backward.argtypes = (
        POINTER(_BackwardCall),
        c_int32,
        POINTER(c_double),
    )
    threads = _openmp()
    if threads is not None:
        kernels.spikesight_use_threads.argtypes = (c_void_p, c_void_p, c_void_p)
        kernels.spikesight_use_threads(*threads)
    return kernels


def _openmp() -> list[int | None] | None:
    """Where the OpenMP library that PyTorch has loaded starts a parallel region."""
    folder = Path(torch.__file__).parent / "lib"
    pattern = "lib*omp*.dylib" if sys.platform == "darwin" else "lib*omp*.so*"
    for file in (*map(str, sorted(folder.glob(pattern))), None):
        try:
            loaded = ctypes.CDLL(file)
            wanted = (loaded.GOMP_parallel, loaded.omp_get_thread_num, loaded.omp_get_num_threads)
        except (OSError, AttributeError):
            continue
        return [ctypes.cast(function, c_void_p).value for function in wanted]
    return None
