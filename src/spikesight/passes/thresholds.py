"""Integer thresholds, and the multiplication that gives the same counts."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from spikesight.graph import integer_vocabulary as integer
from spikesight.neurons.dynamics import Dynamics
from spikesight.passes.fixed_point import grid_of
from spikesight.passes.ranges import EXACT_IN_FLOAT32


def thresholds_of(scale: Tensor, offset: Tensor, dynamics: Dynamics, reach: float) -> Tensor:
    """The smallest integers [C, D] that reach each level.

    Args:
        scale: Real value of one unit of the current, [C] or [1] float64.
        offset: Real value of zero, [C] or [1] float64.
        dynamics: The neuron.
        reach: Real distance of two levels.
    """
    scale, offset = torch.broadcast_tensors(scale, offset)
    rows = []
    for unit, zero in zip(scale.tolist(), offset.tolist(), strict=True):
        row = []
        for level in range(1, dynamics.levels + 1):
            position = (level - 1 + Fraction(dynamics.offset)) * Fraction(reach)
            row.append(first_integer((position - Fraction(zero)) / Fraction(unit), level, dynamics))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.int64)


def first_integer(position: Fraction, level: int, dynamics: Dynamics) -> int:
    """The smallest integer that reaches a position, by the neuron's rule for ties."""
    tie_fires = dynamics.ties == "up" or level % 2 == 0
    return math.ceil(position) if tie_fires else math.floor(position) + 1


def rounding_of(
    neuron: integer.Neuron,
    scale: Tensor,
    offset: Tensor,
    dynamics: Dynamics,
    reach: float,
    interval: integer.Interval,
) -> integer.Rounding | None:
    """The neuron as a multiplication, if float32 computes it without error and agrees.

    Args:
        neuron: The neuron with its thresholds.
        scale: As of `thresholds_of`.
        offset: As of `thresholds_of`.
        dynamics: As of `thresholds_of`.
        reach: As of `thresholds_of`.
        interval: What the current can be.
    """
    if neuron.per_pixel:
        return None
    gain, zero = torch.broadcast_tensors(scale / reach, offset / reach)
    grid = grid_of(gain)
    if dynamics.ties == "up":
        zero = zero - dynamics.offset + 0.5 + grid / 2
        grid = grid / 2
    extent = (gain / grid).abs() * interval.magnitude + (zero / grid).abs() + 1 / grid
    if bool((extent >= EXACT_IN_FLOAT32).any()):
        return None
    form = integer.Rounding(gain.float(), zero.float())
    return form if agrees(neuron, form) else None


def agrees(neuron: integer.Neuron, form: integer.Rounding) -> bool:
    """Whether a rounding form gives a neuron's counts for every integer.

    Both rise with the current, so they agree everywhere if they agree on both sides of each
    threshold.
    """
    gain, offset = form.gain.view(-1, 1), form.offset.view(-1, 1)
    for below in (0, 1):
        current = neuron.thresholds - below
        counts = (current.float() * gain + offset).round().clamp(0, neuron.levels)
        reached = (current[:, None, :] >= neuron.thresholds[:, :, None]).sum(1)
        if not torch.equal(counts.long(), reached):
            return False
    return True
