"""Plain autograd neurons: the parity reference. Slow, and simple enough to check by eye."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.neurons.dynamics import charge_with, count, reset
from spikesight.neurons.recurrence import Rule


class _Count(torch.autograd.Function):
    @staticmethod
    def forward(ctx, potential, rule):
        ctx.save_for_backward(potential)
        ctx.rule = rule
        return count(potential, rule.dynamics)

    @staticmethod
    def backward(ctx, grad):
        (potential,) = ctx.saved_tensors
        return grad * ctx.rule.surrogate.slope(potential, ctx.rule.dynamics), None


def fire(
    current: Tensor, rule: Rule, membrane: Tensor | None = None, retain: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Steps through time and leaves every derivative but that of the count to autograd."""
    dynamics = rule.dynamics
    share = dynamics.retain if retain is None else retain
    over_time = current.reshape(dynamics.steps, -1, *current.shape[1:])
    state = torch.zeros_like(over_time[0]) if membrane is None else membrane
    spikes = []
    for current_t in over_time:
        potential = charge_with(current_t, state, share, dynamics.decay_input)
        counts = _Count.apply(potential, rule)
        removed = counts.detach() if rule.detach_reset else counts
        state = reset(potential, removed, dynamics)
        spikes.append(counts * dynamics.unit)
    return torch.cat(spikes), state


def virtual_steps(potential: Tensor, threshold: float, levels: int, ties: str, offset: float):
    """D sub-steps of an integrate-and-fire neuron, simulated literally."""
    v = potential / threshold
    fired = torch.zeros_like(v)
    spikes = []
    for _ in range(levels):
        even = fired % 2 == 1
        tie = torch.ones_like(even) if ties == "up" else even
        # Once silent it stays silent: only a neuron that fired in every sub-step can go on.
        going = fired == len(spikes)
        s = (going & ((v > offset) | ((v == offset) & tie))).to(v.dtype)
        v = v - s
        fired = fired + s
        spikes.append(s)
    return spikes
