"""Chooses how a neuron is computed: by the native kernels, by PyTorch's operators, or compiled.

All forms give the same spikes. The last two run the loops of `recurrence`, the first of them in
blocks that fit the cache. On a CUDA device the kernels of `triton_kernels` take their place.
"""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.native.library import form, library
from spikesight.neurons import native, single_step
from spikesight.neurons.recurrence import Rule, compute_dtype, run_backward, run_forward
from spikesight.private_api import has_cpp_compiler, has_triton, let_last_dimension_vary

Mode = Literal["auto", "native", "eager", "compiled"]

# The first compilation takes about half a minute, so only inputs that repay it trigger it.
_LARGE = 1 << 21
# The most elements that PyTorch's operators compute on one thread. Larger blocks would make the
# threads meet after each of some hundred operations, which costs more than it gives.
_BLOCK = 1 << 15

_mode: Mode = "auto"
_compiler_works = True


class use_kernels:  # noqa: N801 - used like a function, as torch.set_grad_enabled is
    """Chooses how neurons are computed, from now on or inside a with block.

    "auto" takes the native kernels on a CPU. Where they were not built, it compiles for large
    inputs (2 million currents, or 4 million for integer neurons at T = 1 in full precision) if
    there is a C++ compiler. "native" takes the native kernels wherever they can compute the
    neuron; "eager" takes PyTorch's operators; "compiled" always compiles, which takes about half a
    minute once and is kept on disk by PyTorch. On a CUDA device all but "eager" take the Triton
    kernels. The spikes are the same.

    Args:
        mode: "auto", "native", "eager" or "compiled".

    Raises:
        UserError: If the mode is unknown, or the native kernels were not built.
    """

    def __init__(self, mode: Mode) -> None:
        global _mode
        if mode not in get_args(Mode):
            known = ", ".join(map(repr, get_args(Mode)))
            raise UserError(f"kernels must be one of {known}, got {mode!r}")
        if mode == "native" and library() is None:
            raise UserError(f"there are no native kernels here, but {form()}; pass mode='auto'")
        self._before = _mode
        _mode = mode

    def __enter__(self) -> None:
        """Keeps the mode until the block ends."""

    def __exit__(self, *error: object) -> None:
        """Returns to the mode before."""
        global _mode
        _mode = self._before


def takes_native(current: Tensor, rule: Rule) -> bool:
    """Says whether the native kernels compute this neuron on this tensor, in the present mode."""
    return _mode in ("auto", "native") and native.serves(current, rule)


def forward(
    current: Tensor, membrane: Tensor | None, retain: Tensor | None, rule: Rule, want_state: bool
) -> tuple[Tensor, Tensor | None]:
    """Fires over time.

    Args:
        current: Shape [T, M], contiguous.
        membrane: Shape [M] in the compute dtype; None is rest.
        retain: Share of the membrane kept where it is learned, else None.
        rule: The neuron.
        want_state: Whether the last membrane is asked for.

    Returns:
        Spikes of shape [T, M], and the last membrane, shape [M], if asked for.
    """
    if (triton := _triton(current, rule)) is not None:
        spikes, state = triton.forward(current, membrane, retain, rule, want_state)
        return spikes, state
    shortcut = membrane is None and not want_state and single_step.applies_to(rule)
    if _compiles(current, shortcut):
        arguments = (current, membrane, retain)
        result = _run_compiled(_forward_function, (rule, want_state), arguments)
        if result is not None:
            fired, last = result
            return fired, last
    if shortcut:
        return single_step.forward(current.view(-1), rule).view_as(current), None
    share = rule.dynamics.retain if retain is None else retain
    spikes = torch.empty_like(current)
    state = torch.empty_like(current[0], dtype=compute_dtype(current.dtype)) if want_state else None
    for block in _columns(current):
        start = None if membrane is None else membrane[block]
        outputs, last = run_forward(
            current[:, block].unbind(0), start, share, rule.dynamics, want_state
        )
        torch.stack(outputs, out=spikes[:, block])
        if state is not None and last is not None:
            state[block] = last
    return spikes, state


def backward(
    grad_spikes: Tensor,
    grad_state: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Propagates gradients back through time.

    Args:
        grad_spikes: Gradient of the spikes, shape [T, M], contiguous.
        grad_state: Gradient of the last membrane, shape [M], or None.
        current: The forward's input.
        membrane: The forward's first membrane.
        retain: The forward's learned share, or None.
        rule: The neuron.

    Returns:
        Gradients of the current, of the membrane (None if that was None) and of the learned share
        (None if that was None).
    """
    if (triton := _triton(current, rule)) is not None:
        grads = triton.backward(grad_spikes, grad_state, current, membrane, retain, rule)
        grad_current, grad_membrane, grad_retain = grads
        return grad_current, grad_membrane, grad_retain
    shortcut = membrane is None and grad_state is None and single_step.applies_to(rule)
    if _compiles(current, shortcut):
        arguments = (grad_spikes, grad_state, current, membrane, retain)
        result = _run_compiled(_backward_function, (rule,), arguments)
        if result is not None:
            grad_current, grad_membrane, grad_retain = result
            return grad_current, grad_membrane, grad_retain
    if shortcut:
        flat = single_step.backward(grad_spikes.view(-1), current.view(-1), rule)
        return flat.view_as(current), None, None
    share = rule.dynamics.retain if retain is None else retain
    grad_current = torch.empty_like(current)
    grad_membrane = None if membrane is None else torch.empty_like(membrane)
    grad_retain = None if retain is None else torch.zeros_like(retain)
    for block in _columns(current):
        grads, grad_start, grad_share = run_backward(
            grad_spikes[:, block],
            None if grad_state is None else grad_state[block],
            current[:, block],
            None if membrane is None else membrane[block],
            share,
            rule,
        )
        torch.stack(grads, out=grad_current[:, block])
        if grad_membrane is not None and grad_start is not None:
            grad_membrane[block] = grad_start
        if grad_retain is not None and grad_share is not None:
            grad_retain += grad_share
    return grad_current, grad_membrane, grad_retain


def _columns(current: Tensor) -> list[slice]:
    neurons = current.shape[1]
    size = _BLOCK if current.device.type == "cpu" else max(neurons, 1)
    return [slice(start, min(start + size, neurons)) for start in range(0, neurons, size)]


def _triton(current: Tensor, rule: Rule) -> types.ModuleType | None:
    """The kernels for CUDA devices where they compute this neuron, in the present mode."""
    if current.device.type != "cuda" or _mode == "eager" or not has_triton():
        return None
    from spikesight.neurons import triton_kernels

    return triton_kernels if triton_kernels.applies_to(rule) else None


def _compiles(current: Tensor, shortcut: bool) -> bool:
    # Elsewhere a compiler fuses multiply-adds, which changes bits.
    if current.device.type != "cpu":
        return False
    if _mode not in ("auto", "native"):
        return _mode == "compiled" and current.numel() > 0
    # In full precision the shortcut comes close to the speed of memory and repays it later.
    close = shortcut and current.element_size() > 2
    large = current.numel() >= (2 * _LARGE if close else _LARGE)
    return large and _compiler_works and has_cpp_compiler()


def _run_compiled(
    build: Callable[..., Callable[..., Any]], key: tuple[Any, ...], arguments: tuple[Any, ...]
) -> Any:
    global _compiler_works
    tensors = [argument for argument in arguments if argument is not None]
    device = tensors[0].device.type
    for tensor in tensors:
        let_last_dimension_vary(tensor)
    try:
        with torch.autocast(device, enabled=False):
            return build(*key)(*arguments)
    except Exception as error:
        if _mode == "compiled":
            raise
        _compiler_works = False
        warnings.warn(
            f"neurons go on without compiled kernels, several times slower: {error}", stacklevel=2
        )
        return None


@functools.cache
def _forward_function(rule: Rule, want_state: bool) -> Callable[..., Any]:
    def spiking_forward(current: Tensor, membrane: Tensor | None, retain: Tensor | None) -> Any:
        share = rule.dynamics.retain if retain is None else retain
        fired, state = run_forward(current.unbind(0), membrane, share, rule.dynamics, want_state)
        return torch.stack(fired), state

    return _compile(spiking_forward)


@functools.cache
def _backward_function(rule: Rule) -> Callable[..., Any]:
    def spiking_backward(
        grad_spikes: Tensor,
        grad_state: Tensor | None,
        current: Tensor,
        membrane: Tensor | None,
        retain: Tensor | None,
    ) -> Any:
        share = rule.dynamics.retain if retain is None else retain
        grads, grad_membrane, grad_retain = run_backward(
            grad_spikes, grad_state, current, membrane, share, rule
        )
        return torch.stack(grads), grad_membrane, grad_retain

    return _compile(spiking_backward)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    # PyTorch limits recompilations per code object, so every rule gets a code object of its own.
    assert isinstance(function, types.FunctionType)
    function.__code__ = function.__code__.replace(co_name=function.__name__)
    return torch.compile(function, fullgraph=True)
