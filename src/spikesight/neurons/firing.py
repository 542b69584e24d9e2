"""One call that makes a neuron fire: `fire`.

It hides three things from the neurons: the memory format of their input, the kernels, and in
which way autograd, torch.compile and torch.export each want to be told of the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikesight.neurons import kernels
from spikesight.neurons.recurrence import Rule, compute_dtype, run_forward


def fire(
    current: Tensor,
    rule: Rule,
    membrane: Tensor | None = None,
    retain: Tensor | None = None,
    want_state: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Turns currents into spikes and passes gradients back by the rule's surrogate.

    Args:
        current: Shape [T*B, ...], time-major, in any memory format, which the output keeps.
        rule: The neuron.
        membrane: Membrane to start from, shape [B, ...] in the compute dtype; None is rest.
        retain: The learned share of the membrane kept per time step, a 0-d tensor; None takes
            the fixed one of the dynamics.
        want_state: Whether the last membrane is asked for.

    Returns:
        ``unit * n`` in the current's shape and dtype, and the last membrane if asked for.
    """
    if torch.compiler.is_exporting():
        return _fire_plainly(current, rule, membrane, retain, want_state)
    if torch.compiler.is_compiling():
        spikes, state = torch.ops.spikesight.fire(current, membrane, retain, rule.code, want_state)
        return spikes, state if want_state else None
    spikes, state = _Firing.apply(current, membrane, retain, rule, want_state)
    return spikes, state


class _Firing(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        membrane: Tensor | None,
        retain: Tensor | None,
        rule: Rule,
        want_state: bool,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(current, membrane, retain)
        ctx.rule = rule
        ctx.set_materialize_grads(False)
        return _forward(current, membrane, retain, rule, want_state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_state: Tensor | None) -> Any:
        current, membrane, retain = ctx.saved_tensors
        grads = _backward(grad_spikes, grad_state, current, membrane, retain, ctx.rule)
        return *grads, None, None


def _forward(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
    want_state: bool,
) -> tuple[Tensor, Tensor | None]:
    dense, first = _as_dense(current, rule)
    spikes, state = kernels.forward(
        _flat(dense, rule), _flat_state(membrane, first), retain, rule, want_state
    )
    return _shaped(spikes, dense), None if state is None else _shaped(state, first)


def _backward(
    grad_spikes: Tensor | None,
    grad_state: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    dense, first = _as_dense(current, rule)
    if grad_spikes is None:
        grad_spikes = torch.zeros_like(dense)
    grad_current, grad_membrane, grad_retain = kernels.backward(
        _flat(_in_format(grad_spikes, dense), rule),
        _flat_state(grad_state, first),
        _flat(dense, rule),
        _flat_state(membrane, first),
        retain,
        rule,
    )
    if grad_membrane is not None:
        grad_membrane = _shaped(grad_membrane, first)
    return _shaped(grad_current, dense), grad_membrane, grad_retain


def _as_dense(current: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """The current itself if its memory is T gapless slabs, else a contiguous copy; and slab one."""
    steps = rule.dynamics.steps
    if not current.is_contiguous():
        outermost = current.stride(0) * current.shape[0] == current.numel()
        if not (steps == 1 or outermost) or not _is_gapless(current):
            current = current.contiguous()
    return current, current[: current.shape[0] // steps]


def _is_gapless(tensor: Tensor) -> bool:
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != expected:
                return False
            expected *= size
    return True


def _empty_like(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=tensor.device)


def _in_format(tensor: Tensor, like: Tensor) -> Tensor:
    if tensor.stride() == like.stride():
        return tensor
    return _empty_like(like, tensor.dtype).copy_(tensor)


def _flat(dense: Tensor, rule: Rule) -> Tensor:
    steps = rule.dynamics.steps
    neurons = dense.numel() // steps
    return dense.as_strided((steps, neurons), (neurons, 1))


def _flat_state(state: Tensor | None, first: Tensor) -> Tensor | None:
    if state is None:
        return None
    return _in_format(state, first).as_strided((first.numel(),), (1,))


def _shaped(flat: Tensor, like: Tensor) -> Tensor:
    # A view here would forbid in-place operations on a neuron's output.
    return flat.new_empty(0).set_(
        flat.untyped_storage(), flat.storage_offset(), like.shape, like.stride()
    )


def _fire_plainly(
    current: Tensor,
    rule: Rule,
    membrane: Tensor | None,
    retain: Tensor | None,
    want_state: bool,
) -> tuple[Tensor, Tensor | None]:
    """Fires in standard operators only and without a gradient, for exported graphs."""
    steps = rule.dynamics.steps
    share = rule.dynamics.retain if retain is None else retain
    over_time = (current,) if steps == 1 else current.chunk(steps)
    spikes, state = run_forward(over_time, membrane, share, rule.dynamics, want_state)
    return spikes[0] if steps == 1 else torch.cat(spikes), state


# A compiled model sees the neuron as one opaque operator with its own backward: traced through,
# the compiler would store a mask per neuron, which is slower than not compiling.
@torch.library.custom_op("spikesight::fire", mutates_args=())
def _fire_operator(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: str,
    want_state: bool,
) -> tuple[Tensor, Tensor]:
    spikes, state = _forward(current, membrane, retain, Rule.from_code(rule), want_state)
    return spikes, current.new_empty(0) if state is None else state


@_fire_operator.register_fake
def _(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: str,
    want_state: bool,
) -> tuple[Tensor, Tensor]:
    dense, first = _as_dense(current, Rule.from_code(rule))
    spikes = _empty_like(dense, current.dtype)
    if not want_state:
        return spikes, current.new_empty(0)
    return spikes, _empty_like(first, compute_dtype(current.dtype))


@torch.library.custom_op("spikesight::fire_backward", mutates_args=())
def _fire_backward_operator(
    grad_spikes: Tensor,
    grad_state: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: str,
) -> tuple[Tensor, Tensor, Tensor]:
    grads = _backward(grad_spikes, grad_state, current, membrane, retain, Rule.from_code(rule))
    given = [current.new_empty(0) if grad is None else grad for grad in grads[1:]]
    return grads[0], given[0], given[1]


@_fire_backward_operator.register_fake
def _(
    grad_spikes: Tensor,
    grad_state: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: str,
) -> tuple[Tensor, Tensor, Tensor]:
    dense, first = _as_dense(current, Rule.from_code(rule))
    return (
        _empty_like(dense, current.dtype),
        current.new_empty(0) if membrane is None else _empty_like(first, membrane.dtype),
        current.new_empty(0) if retain is None else torch.empty_like(retain),
    )


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    current, membrane, retain, rule, want_state = inputs
    ctx.save_for_backward(current, membrane, retain)
    ctx.rule = rule
    ctx.want_state = want_state


def _differentiate(ctx: Any, grad_spikes: Tensor, grad_state: Tensor) -> Any:
    current, membrane, retain = ctx.saved_tensors
    grads = torch.ops.spikesight.fire_backward(
        grad_spikes, grad_state if ctx.want_state else None, current, membrane, retain, ctx.rule
    )
    given = [None if t is None else grad for t, grad in zip(ctx.saved_tensors, grads, strict=True)]
    return *given, None, None


_fire_operator.register_autograd(_differentiate, setup_context=_keep_for_backward)
