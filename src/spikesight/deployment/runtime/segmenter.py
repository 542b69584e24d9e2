"""The nodes of integer networks that only segmenters have, on tensors that hold integers."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from spikesight.attention.embedding import sine_position
from spikesight.attention.mask_product import mask_product
from spikesight.deployment.runtime import sampling
from spikesight.deployment.runtime.arithmetic import total
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.unrolling import Spikes, expanded

SegmenterNode = (
    integer.Embedding | integer.Position | integer.Resize | integer.Sample | integer.MaskProduct
)


def run_segmenter_node(node: SegmenterNode, inputs: list[Tensor | Spikes]) -> Tensor:
    """Runs a node on counts, or on counts as a list of their spikes, which are expanded.

    Args:
        node: The node.
        inputs: Values of what it reads, [N, C, H, W]; float64, but for mask products proved to
            stay below 2^24.

    Returns:
        [N, C', H', W'].
    """
    first = inputs[0]
    assert not isinstance(first, list) or isinstance(node, integer.MaskProduct)
    match node:
        case integer.MaskProduct(inhibitory=inhibitory):
            # Where the features are spikes too, every sub-step of one meets every one of the other.
            pairs = product(expanded(first), expanded(inputs[1]))
            return total([mask_product(s.to(f), f, inhibitory) for s, f in pairs])
        case integer.Sample():
            interpolated = sampling.interpolate(node, _tensor(first), _tensor(inputs[1]))
            spikes = expanded(inputs[2])
            return total([sampling.weigh(interpolated, s.to(interpolated)) for s in spikes])
        case integer.Resize():
            return sampling.resize(node, _tensor(first), tuple(_tensor(inputs[1]).shape[-2:]))
        case integer.Embedding(value=value):
            like = _tensor(first)
            return value.to(like).expand(like.shape[0], -1, -1, -1)
        case integer.Position():
            like = _tensor(first)
            return position(node, like.shape[-2], like.shape[-1]).to(like)


def position(node: integer.Position, height: int, width: int) -> Tensor:
    """The integers [1, C, H, W] of a map's rows and columns, computed in float64.

    Where float32 ends near a tie, the math library would choose the integer.
    """
    wide = torch.float64
    like = torch.zeros((), dtype=wide)
    exact = sine_position(node.channels, height, width, like, precision=wide)
    return (exact * 2.0**node.shift).round()


def _tensor(value: Tensor | Spikes) -> Tensor:
    assert isinstance(value, Tensor)
    return value
