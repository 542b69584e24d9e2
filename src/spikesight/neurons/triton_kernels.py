"""The neuron's loops over time as two Triton kernels, for tensors on a CUDA device.

One pass over memory each: the forward kernel reads the current and writes spikes, the backward
kernel reads gradient and current and writes a gradient; membranes stay in registers. What
`recurrence` computes, in the same order and with every operation rounded by itself: multiply-adds
are not fused and divisions are exact, so the spikes equal the CPU's bit for bit.

Import this module only where Triton is installed.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from spikesight.neurons.recurrence import Rule, compute_dtype
from spikesight.neurons.surrogate import Arctan, Rectangular, Sigmoid, StraightThrough

_SURROGATES = (Sigmoid, Rectangular, Arctan, StraightThrough)
# Adding and then subtracting it rounds what lies within 0..255 to whole numbers, half to even.
_ROUNDING = {tl.float32: 2.0**23, tl.float64: 2.0**52}
_LOG2_E = tl.constexpr(1.4426950408889634)
_HALF_PI = tl.constexpr(1.5707963267948966)


def applies_to(rule: Rule) -> bool:
    """Says whether the kernels know the rule's surrogate; not one that a user wrote."""
    return type(rule.surrogate) in _SURROGATES


def forward(
    current: Tensor, membrane: Tensor | None, retain: Tensor | None, rule: Rule, want_state: bool
) -> tuple[Tensor, Tensor | None]:
    """Fires over time; arguments and results as of `kernels.forward`."""
    spikes = torch.empty_like(current)
    last = torch.empty_like(current[0], dtype=compute_dtype(current.dtype)) if want_state else None
    if current.numel() > 0:
        launch: Any = _forward_kernel[_grid(current)]
        with torch.cuda.device_of(current):
            launch(
                current, membrane, retain, spikes, last, current.shape[1], **_options(current, rule)
            )
    return spikes, last


def backward(
    grad_spikes: Tensor,
    grad_state: Tensor | None,
    current: Tensor,
    membrane: Tensor | None,
    retain: Tensor | None,
    rule: Rule,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Propagates gradients back through time; arguments and results as of `kernels.backward`."""
    grad_current = torch.empty_like(current)
    grad_membrane = None if membrane is None else torch.empty_like(membrane)
    if current.numel() == 0:
        return grad_current, grad_membrane, None if retain is None else torch.zeros_like(retain)
    grid = _grid(current)
    shares = None if retain is None else current.new_empty(grid, dtype=torch.float64)
    surrogate = rule.surrogate
    launch: Any = _backward_kernel[grid]
    with torch.cuda.device_of(current):
        launch(
            grad_spikes,
            grad_state,
            current,
            membrane,
            retain,
            grad_current,
            grad_membrane,
            shares,
            current.shape[1],
            surrogate=surrogate.name,
            parameter=surrogate.parameter,
            detach_reset=rule.detach_reset,
            **_options(current, rule),
        )
    if retain is None or shares is None:
        return grad_current, grad_membrane, None
    return grad_current, grad_membrane, shares.sum().to(retain.dtype)


def _block(steps: int) -> int:
    # The backward kernel holds a membrane per time step in registers.
    return 1024 if steps <= 4 else 512 if steps <= 8 else 256


def _grid(current: Tensor) -> tuple[int]:
    steps, neurons = current.shape
    return (triton.cdiv(neurons, _block(steps)),)


def _options(current: Tensor, rule: Rule) -> dict[str, Any]:
    dynamics = rule.dynamics
    dtype = tl.float64 if current.dtype == torch.float64 else tl.float32
    return {
        "steps": dynamics.steps,
        "levels": dynamics.levels,
        "threshold": dynamics.threshold,
        "offset": dynamics.offset,
        "unit": dynamics.unit,
        "fixed_retain": dynamics.retain,
        "decay_input": dynamics.decay_input,
        "hard": dynamics.reset == "hard",
        "ties_up": dynamics.ties == "up",
        "rounding": _ROUNDING[dtype],
        "dtype": dtype,
        "block": _block(dynamics.steps),
        "enable_fp_fusion": False,
    }


@triton.jit
def _shares(retain: tl.tensor, fixed_retain: tl.constexpr, dtype: tl.constexpr) -> Any:
    """The share of the membrane kept and 1 minus it, each rounded once."""
    if retain is None:
        kept = tl.full((), fixed_retain, tl.float64)
    else:
        kept = tl.load(retain).to(tl.float64)
    return kept.to(dtype), (1.0 - kept).to(dtype)


@triton.jit
def _charge(
    current: tl.tensor,
    state: tl.tensor,
    kept: tl.tensor,
    rest: tl.tensor,
    decay_input: tl.constexpr,
) -> Any:
    return state + (current - state) * rest if decay_input else kept * state + current


@triton.jit
def _count(
    potential: tl.tensor,
    levels: tl.constexpr,
    threshold: tl.constexpr,
    offset: tl.constexpr,
    ties_up: tl.constexpr,
    rounding: tl.constexpr,
    dtype: tl.constexpr,
) -> Any:
    scaled = potential
    if threshold != 1.0:
        distance = tl.full((), threshold, dtype)
        scaled = potential / distance if dtype == tl.float64 else tl.div_rn(potential, distance)
    if levels == 1:
        counts = scaled >= offset if ties_up else scaled > offset
    else:
        counts = tl.floor(scaled - offset) + 1.0 if ties_up else scaled
        # Written so that what is no number stays none, as in PyTorch.
        counts = tl.where(counts < 0.0, 0.0, tl.where(counts > levels, 1.0 * levels, counts))
        if not ties_up:
            counts = (counts + rounding) - rounding
    return counts.to(dtype)


@triton.jit
def _reset(
    potential: tl.tensor, counts: tl.tensor, threshold: tl.constexpr, hard: tl.constexpr
) -> Any:
    return potential * (1.0 - counts) if hard else potential - counts * threshold


@triton.jit
def _slope(
    potential: tl.tensor,
    levels: tl.constexpr,
    threshold: tl.constexpr,
    surrogate: tl.constexpr,
    parameter: tl.constexpr,
    dtype: tl.constexpr,
) -> Any:
    """What the surrogate of that name in `surrogate` gives."""
    distance = potential - threshold
    if surrogate == "straight_through":
        top: tl.constexpr = levels * threshold
        if parameter != 0.0:
            inside = (potential >= 0.0) & (potential <= top)
        else:
            inside = (potential > 0.0) & (potential < top)
        slope = inside.to(dtype) * (1.0 / threshold)
    elif surrogate == "sigmoid":
        e: tl.tensor = tl.exp2(tl.abs(distance) * (-parameter * _LOG2_E))
        slope = e * parameter / ((1.0 + e) * (1.0 + e))
    elif surrogate == "rectangular":
        slope = (tl.abs(distance) < parameter / 2).to(dtype) * (1.0 / parameter)
    else:
        tl.static_assert(surrogate == "arctan")
        scaled = distance * (_HALF_PI * parameter)
        slope = (parameter / 2) / (1.0 + scaled * scaled)
    return slope


@triton.jit
def _add(one: tl.tensor, other: tl.tensor) -> Any:
    return one + other


@triton.jit
def _forward_kernel(
    current: tl.tensor,
    membrane: tl.tensor,
    retain: tl.tensor,
    spikes: tl.tensor,
    last: tl.tensor,
    neurons: tl.tensor,
    steps: tl.constexpr,
    levels: tl.constexpr,
    threshold: tl.constexpr,
    offset: tl.constexpr,
    unit: tl.constexpr,
    fixed_retain: tl.constexpr,
    decay_input: tl.constexpr,
    hard: tl.constexpr,
    ties_up: tl.constexpr,
    rounding: tl.constexpr,
    dtype: tl.constexpr,
    block: tl.constexpr,
) -> None:
    columns = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = columns < neurons
    kept, rest = _shares(retain, fixed_retain, dtype)
    if membrane is None:
        state = tl.full((block,), 0.0, dtype)
    else:
        state = tl.load(membrane + columns, mask=inside, other=0.0)
    place = columns
    for _ in tl.static_range(steps):
        arrived = tl.load(current + place, mask=inside, other=0.0).to(dtype)
        potential = _charge(arrived, state, kept, rest, decay_input)
        counts = _count(potential, levels, threshold, offset, ties_up, rounding, dtype)
        state = _reset(potential, counts, threshold, hard)
        tl.store(spikes + place, (counts * unit).to(spikes.dtype.element_ty), mask=inside)
        place += neurons
    if last is not None:
        tl.store(last + columns, state, mask=inside)


@triton.jit
def _backward_kernel(
    grad_spikes: tl.tensor,
    grad_last: tl.tensor,
    current: tl.tensor,
    membrane: tl.tensor,
    retain: tl.tensor,
    grad_current: tl.tensor,
    grad_membrane: tl.tensor,
    grad_retain: tl.tensor,
    neurons: tl.tensor,
    surrogate: tl.constexpr,
    parameter: tl.constexpr,
    detach_reset: tl.constexpr,
    steps: tl.constexpr,
    levels: tl.constexpr,
    threshold: tl.constexpr,
    offset: tl.constexpr,
    unit: tl.constexpr,
    fixed_retain: tl.constexpr,
    decay_input: tl.constexpr,
    hard: tl.constexpr,
    ties_up: tl.constexpr,
    rounding: tl.constexpr,
    dtype: tl.constexpr,
    block: tl.constexpr,
) -> None:
    columns = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = columns < neurons
    kept, rest = _shares(retain, fixed_retain, dtype)
    if membrane is None:
        state = tl.full((block,), 0.0, dtype)
    else:
        state = tl.load(membrane + columns, mask=inside, other=0.0)
    states = (state,)
    place = columns
    for _ in tl.static_range(steps - 1):
        arrived = tl.load(current + place, mask=inside, other=0.0).to(dtype)
        potential = _charge(arrived, state, kept, rest, decay_input)
        counts = _count(potential, levels, threshold, offset, ties_up, rounding, dtype)
        state = _reset(potential, counts, threshold, hard)
        states = states + (state,)  # type: ignore[assignment]  # noqa: RUF005 - Triton needs it so
        place += neurons

    if grad_last is None:
        grad_state = tl.full((block,), 0.0, dtype)
    else:
        grad_state = tl.load(grad_last + columns, mask=inside, other=0.0)
    grad_kept = tl.full((block,), 0.0, tl.float64)
    for back in tl.static_range(steps):
        arrived = tl.load(current + place, mask=inside, other=0.0).to(dtype)
        potential = _charge(arrived, states[steps - 1 - back], kept, rest, decay_input)
        grad = tl.load(grad_spikes + place, mask=inside, other=0.0).to(dtype) * unit
        # Nothing flows from behind the end: 0 times an infinite potential would be no number.
        flows = back > 0 or grad_last is not None
        if flows and not detach_reset:
            grad -= grad_state * (potential if hard else threshold)
        grad *= _slope(potential, levels, threshold, surrogate, parameter, dtype)
        if flows:
            if hard:
                counts = _count(potential, levels, threshold, offset, ties_up, rounding, dtype)
                grad_state *= 1.0 - counts
            grad += grad_state
        if retain is not None:
            leak = states[steps - 1 - back]
            if decay_input:
                leak -= arrived
            grad_kept += (grad * leak).to(tl.float64)
        grad_state = grad * kept
        if decay_input:
            grad *= rest
        tl.store(grad_current + place, grad.to(grad_current.dtype.element_ty), mask=inside)
        place -= neurons
    if grad_membrane is not None:
        tl.store(grad_membrane + columns, grad_state, mask=inside)
    if grad_retain is not None:
        share = tl.reduce(tl.where(inside, grad_kept, 0.0), 0, _add)
        tl.store(grad_retain + tl.program_id(0), share)
