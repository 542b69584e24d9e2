"""Integer neurons at T = 1: the forward and backward pass in blocks that stay in the cache.

Most networks of integer neurons run one time step from rest, where U = X. The count is then two
operations on the output and the gradient is one; done block by block they cost about what copying
the tensors costs. Exactly `count` and `StraightThrough.slope`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spikesight.neurons.recurrence import Rule
from spikesight.neurons.surrogate import StraightThrough

# A block of output must stay in the cache between two operations. With several threads every
# operation also ends in a barrier, which is slow on a busy machine: fewer blocks, in the L3 cache.
_BLOCK_BYTES = 1 << 19
_SHARED_BLOCK_BYTES = 1 << 22


def applies_to(rule: Rule) -> bool:
    """Says whether the shortcut computes this neuron exactly in every dtype."""
    dynamics = rule.dynamics
    power_of_two = math.frexp(dynamics.threshold)[0] == 0.5
    return (
        dynamics.steps == 1
        and dynamics.ties == "even"
        and dynamics.reset == "soft"
        and not dynamics.decay_input
        and power_of_two
        and isinstance(rule.surrogate, StraightThrough)
    )


def forward(current: Tensor, rule: Rule) -> Tensor:
    """Returns ``unit * n`` for a flat tensor of currents."""
    dynamics = rule.dynamics
    threshold = dynamics.threshold
    spikes = torch.empty_like(current)
    for source, block in _blocks(current, spikes):
        if threshold == 1.0:
            torch.clamp(source, 0, dynamics.levels, out=block)
        else:
            torch.mul(source, 1 / threshold, out=block).clamp_(0, dynamics.levels)
        block.round_()
        if dynamics.unit != 1.0:
            block.mul_(dynamics.unit)
    return spikes


def backward(grad_spikes: Tensor, current: Tensor, rule: Rule) -> Tensor:
    """Returns the gradient of the flat current, given that of the spikes."""
    dynamics = rule.dynamics
    low, high = 0.0, dynamics.levels * dynamics.threshold
    if rule.surrogate.parameter:
        low, high = _just_outside(low, high, current.dtype)
    slope = dynamics.unit / dynamics.threshold
    if slope == 1.0:
        whole: Tensor = torch.ops.aten.hardtanh_backward(grad_spikes, current, low, high)
        return whole
    grad_current = torch.empty_like(current)
    for incoming, source, block in _blocks(grad_spikes, current, grad_current):
        torch.ops.aten.hardtanh_backward(incoming, source, low, high, grad_input=block)
        block.mul_(slope)
    return grad_current


def _blocks(*tensors: Tensor) -> zip[tuple[Tensor, ...]]:
    first = tensors[0]
    if first.device.type == "cpu":
        alone = torch.get_num_threads() == 1
        size = (_BLOCK_BYTES if alone else _SHARED_BLOCK_BYTES) // first.element_size()
    else:
        size = max(first.numel(), 1)
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def _just_outside(low: float, high: float, dtype: torch.dtype) -> tuple[float, float]:
    """Widens [low, high] to the open range that holds the same numbers of the dtype.

    Below zero the next number is subnormal; float16 has those in its working range, the other
    dtypes get their smallest normal number, which also holds where subnormals are flushed.
    """
    info = torch.finfo(dtype)
    tiny = info.smallest_normal * (info.eps if dtype == torch.float16 else 1)
    last_place = info.eps * 2.0 ** (math.frexp(high)[1] - 1)
    return low - tiny, high + last_place
