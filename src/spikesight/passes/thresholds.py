"""Integer thresholds, and the multiplication that gives the same counts.

Thresholds are exact. A float64 is an integer times a power of two, so scale, offset and distance of
levels are integers in units of one power of two that all of them share; there the smallest current
that reaches a level is the quotient of two integers, rounded up. Python's integers have as many
bits as that takes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spikesight.graph import integer_vocabulary as integer
from spikesight.neurons.dynamics import Dynamics
from spikesight.passes.fixed_point import grid_of, on_common_grid
from spikesight.passes.ranges import EXACT_IN_FLOAT32


def thresholds_of(
    scale: Tensor, offset: Tensor, dynamics: Dynamics, reach: Tensor | float
) -> Tensor:
    """The smallest integers [C, D] that reach each level.

    Level d is at (d - 1 + dynamics.offset) * reach; the smallest integer current there is that
    position less the offset, over the scale, rounded up, or the next one where a tie does not fire.

    Args:
        scale: Real value of one unit of the current, [C] or [1] float64, positive.
        offset: Real value of zero, [C] or [1] float64.
        dynamics: The neuron.
        reach: Real distance of two levels, of all channels or [C] float64.
    """
    values = torch.broadcast_tensors(scale, offset, torch.as_tensor(reach, dtype=torch.float64))
    unit, zero, distance = (column[:, None] for column in on_common_grid(*values))
    numerator, denominator = float(dynamics.offset).as_integer_ratio()
    below = np.arange(dynamics.levels, dtype=object)
    dividend = (below * denominator + numerator) * distance - denominator * zero
    divisor = denominator * unit
    # Of integers a and b > 0, (a + b - 1) // b is a / b rounded up and (a + b) // b the next
    # integer above a / b.
    tie_fires = np.ones_like(below) if dynamics.ties == "up" else below % 2
    thresholds = (dividend + divisor - tie_fires) // divisor
    return torch.from_numpy(thresholds.astype(np.int64))


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
    thresholds = neuron.thresholds.contiguous()
    for below in (0, 1):
        current = thresholds - below
        counts = (current.float() * gain + offset).round().clamp(0, neuron.levels)
        reached = torch.searchsorted(thresholds, current, right=True)
        if not torch.equal(counts.long(), reached):
            return False
    return True
