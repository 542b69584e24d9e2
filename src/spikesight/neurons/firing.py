"""One call that makes a neuron fire: `fire`.

It hides three things from the neurons: the memory format of their input, the kernels, and in
which way autograd, torch.compile and torch.export each want to be told of the gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikesight.neurons import kernels, native
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
        masked = (
            ctx.needs_input_grad[0]
            and membrane is None
            and not want_state
            and native.keeps_mask(rule)
            and kernels.takes_native(current, rule)
        )
        dense, spikes, state, mask = _forward(current, membrane, retain, rule, want_state, masked)
        if mask is None:
            ctx.save_for_backward(current, membrane, retain, None)
        else:
            ctx.save_for_backward(None, None, None, mask)
            ctx.layout = _Layout.of(dense)
        ctx.rule = rule
        ctx.set_materialize_grads(False)
        return spikes, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_state: Tensor | None) -> Any:
        current, membrane, retain, mask = ctx.saved_tensors
        if mask is not None:
            if grad_spikes is None:
                return None, None, None, None, None
            incoming = ctx.layout.given_to(grad_spikes)
            grad, *_ = native.backward(incoming, None, None, None, None, ctx.rule, mask)
            return grad, None, None, None, None
        grads = _backward(grad_spikes, grad_state, current, membrane, retain, ctx.rule)
        return *grads, None, None


def _forward(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
    want_state: bool,
    want_mask: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Returns the current as it was read, the spikes, the last membrane and the mask."""
    dense = _as_dense(current, rule)
    if kernels.takes_native(dense, rule):
        if membrane is not None:
            membrane = _Layout.of(_first(dense, rule)).given_to(membrane)
        return dense, *native.forward(dense, membrane, retain, rule, want_state, want_mask)
    first = _first(dense, rule)
    spikes, state = kernels.forward(
        _flat(dense, rule), _flat_state(membrane, first), retain, rule, want_state
    )
    return dense, _shaped(spikes, dense), None if state is None else _shaped(state, first), None


def _backward(
    grad_spikes: Tensor | None,
    grad_state: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    dense = _as_dense(current, rule)
    if grad_spikes is None:
        grad_spikes = torch.zeros_like(dense)
    incoming = _Layout.of(dense).given_to(grad_spikes)
    if kernels.takes_native(dense, rule):
        if grad_state is not None or membrane is not None:
            slab = _Layout.of(_first(dense, rule))
            grad_state = None if grad_state is None else slab.given_to(grad_state)
            membrane = None if membrane is None else slab.given_to(membrane)
        return native.backward(incoming, grad_state, dense, membrane, retain, rule)
    first = _first(dense, rule)
    grad_current, grad_membrane, grad_retain = kernels.backward(
        _flat(incoming, rule),
        _flat_state(grad_state, first),
        _flat(dense, rule),
        _flat_state(membrane, first),
        retain,
        rule,
    )
    if grad_membrane is not None:
        grad_membrane = _shaped(grad_membrane, first)
    return _shaped(grad_current, dense), grad_membrane, grad_retain


class _Layout(NamedTuple):
    """The shape and memory format of a tensor without gaps."""

    shape: torch.Size
    stride: tuple[int, ...]

    @staticmethod
    def of(tensor: Tensor) -> _Layout:
        return _Layout(tensor.shape, tensor.stride())

    def given_to(self, tensor: Tensor) -> Tensor:
        """A tensor of this shape itself if it has this memory format, else its copy in it."""
        if tensor.stride() == self.stride:
            return tensor
        empty = torch.empty_strided(
            self.shape, self.stride, dtype=tensor.dtype, device=tensor.device
        )
        return empty.copy_(tensor)


def _as_dense(current: Tensor, rule: Rule) -> Tensor:
    """The current itself if its memory is T gapless slabs, else a contiguous copy."""
    if current.is_contiguous():
        return current
    outermost = current.stride(0) * current.shape[0] == current.numel()
    if not (rule.dynamics.steps == 1 or outermost) or not _is_gapless(current):
        return current.contiguous()
    return current


def _first(dense: Tensor, rule: Rule) -> Tensor:
    """The first of the T slabs."""
    return dense[: dense.shape[0] // rule.dynamics.steps]


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


def _flat(dense: Tensor, rule: Rule) -> Tensor:
    steps = rule.dynamics.steps
    neurons = dense.numel() // steps
    return dense.as_strided((steps, neurons), (neurons, 1))


def _flat_state(state: Tensor | None, first: Tensor) -> Tensor | None:
    if state is None:
        return None
    return _Layout.of(first).given_to(state).as_strided((first.numel(),), (1,))


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


# Without it the compiler copies currents and gradients into the layout of the traced model.
_IN_ANY_LAYOUT = (torch.Tag.flexible_layout,)


# A compiled model sees the neuron as one opaque operator with its own backward: traced through,
# the compiler would store a mask per neuron, which is slower than not compiling.
@torch.library.custom_op("spikesight::fire", mutates_args=(), tags=_IN_ANY_LAYOUT)
def _fire_operator(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: str,
    want_state: bool,
) -> tuple[Tensor, Tensor]:
    _, spikes, state, _ = _forward(current, membrane, retain, Rule.from_code(rule), want_state)
    return spikes, current.new_empty(0) if state is None else state


@_fire_operator.register_fake
def _(
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: str,
    want_state: bool,
) -> tuple[Tensor, Tensor]:
    dense = _as_dense(current, Rule.from_code(rule))
    spikes = _empty_like(dense, current.dtype)
    if not want_state:
        return spikes, current.new_empty(0)
    first = _first(dense, Rule.from_code(rule))
    return spikes, _empty_like(first, compute_dtype(current.dtype))


@torch.library.custom_op("spikesight::fire_backward", mutates_args=(), tags=_IN_ANY_LAYOUT)
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
    dense = _as_dense(current, Rule.from_code(rule))
    first = _first(dense, Rule.from_code(rule))
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
