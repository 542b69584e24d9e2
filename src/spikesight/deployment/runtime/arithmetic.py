"""The arithmetic of integer networks, on tensors that hold integers without error.

Every function is exact as long as its operands and partial sums stay below 2^24 in float32, or
2^53 in float64; who calls it has proved that.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.graph import integer_vocabulary as integer


def quantise_image(node: integer.Input, x: Tensor) -> Tensor:
    """Integers of a normalised image, read in float32 as every runtime reads it."""
    return (x.float() * 2.0**node.shift).round().clamp(node.low, node.high)


def accumulate(node: integer.Synapse, x: Tensor, weight: Tensor) -> Tensor:
    """The bare sum of weights times inputs; `weight` is the node's in the dtype of `x`."""
    if node.is_linear:
        return F.linear(x, weight)
    return F.conv2d(x, weight, None, node.stride, node.padding, 1, node.groups)


def shift_and_bias(node: integer.Synapse, accumulated: Tensor) -> Tensor:
    """What a synapse does once per time step."""
    if not bool(node.shift.any()) and not bool(node.bias.any()):
        return accumulated
    left = torch.exp2(node.shift.clamp(min=0).double())
    right = torch.exp2(node.shift.clamp(max=0).double())
    total = accumulated * per_channel(left, accumulated) + per_channel(node.bias, accumulated)
    return (total * per_channel(right, accumulated)).floor_()


def total(value: Tensor | Iterable[Tensor]) -> Tensor:
    """The sum over sub-steps, one at a time, or the value itself."""
    if isinstance(value, Tensor):
        return value
    first, *others = value
    summed = first.clone()
    for other in others:
        summed += other
    return summed


def maximum(node: integer.MaxPool, x: Tensor) -> Tensor:
    """The maxima over the windows of a map [N, C, H, W]."""
    return F.max_pool2d(x, node.kernel, node.stride, node.padding)


def attention_context(key: Tensor, value: Tensor, heads: int) -> Tensor:
    """V K^T per head [N, heads, C' / heads, C / heads] of maps [N, C, H, W], [N, C', H, W]."""
    return _by_head(value, heads) @ _by_head(key, heads).transpose(-1, -2)


def attend(context: Tensor, query: Tensor) -> Tensor:
    """The context applied to a map of queries [N, C, H, W]; [N, C', H, W]."""
    attended = context @ _by_head(query, context.shape[1])
    return attended.reshape(len(query), -1, *query.shape[2:])


def summed_map(node: integer.Node, inputs: list[Tensor]) -> Tensor | None:
    """The map whose pixels a node's result is a sum over, where its neuron counts them."""
    if isinstance(node, integer.Pool):
        return inputs[0]
    return inputs[1] if isinstance(node, integer.Attention) and node.mean else None


def arrange_output(node: integer.Output, total: Tensor) -> Tensor:
    """What an output node returns of the sum over time [B, K] or [B, K, H, W]."""
    return total.squeeze(2).transpose(1, 2) if node.of_queries else total


def joined(outputs: tuple[Tensor, ...]) -> Tensor:
    """One output as it is [B, K], several in one row per input [B, ...]."""
    if len(outputs) == 1:
        return outputs[0]
    return torch.cat([output.flatten(1) for output in outputs], 1)


def charge(node: integer.Neuron, current: Tensor, membrane: Tensor | None, pixels: int) -> Tensor:
    """The potential U of one time step; a membrane of None is at rest."""
    potential = current * 2.0**node.shift + per_channel(node.bias, current) * pixels
    return potential if membrane is None else _leak(node.leak, membrane) + potential


def reached(node: integer.Neuron, level: int, potential: Tensor, pixels: int) -> Tensor:
    """Where a potential reaches the threshold of a level 0..D-1."""
    return potential >= per_channel(node.thresholds[:, level], potential) * pixels


def reset(node: integer.Neuron, potential: Tensor, count: Tensor, pixels: int) -> Tensor:
    """The membrane that firing leaves."""
    if node.reset == "hard":
        return torch.where(count > 0, 0.0, potential)
    return potential - count * per_channel(node.step, potential) * pixels


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """Values [C] or [1], shaped for maps [N, C, H, W] or vectors [N, C]."""
    shape = (1, -1, *[1] * (like.ndim - 2))
    return values.to(like.device, like.dtype).view(shape)


def _leak(leak: integer.Leak, membrane: Tensor) -> Tensor:
    match leak.kind:
        case "none":
            return torch.zeros_like(membrane)
        case "all":
            return membrane
        case "share":
            return (membrane * 2.0**-leak.shift).floor()
        case "rest":
            return membrane - (membrane * 2.0**-leak.shift).floor()


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], heads, x.shape[1] // heads, -1)
