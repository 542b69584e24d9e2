"""Attention without a matrix product: keys and values meet element by element (SDT-V1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.attention.gate import Gate, SpikeSum
from spikesight.attention.product import check_divides
from spikesight.synapses import ConvNorm

AttentionPools = Literal["none", "space", "channels"]


class ElementwiseSelfAttention(nn.Module):
    """Neuron; Q, K, V = neuron(norm(1x1)); Q gated by neuron(sum over tokens of K * V); norm(1x1).

    The mask has one spike per channel, so that heads share nothing and there are none (SDSA of
    Spike-driven Transformer, NeurIPS 2023, eqs. 4 and 6).

    Args:
        channels: Channels of the residual stream.
        neuron: Builds an ordinary neuron.
        mask_neuron: Builds the neuron behind the sum (LIF: threshold 0.5).
        scale: Factor of the sum (released: 1).
        pools: "space" spreads keys, values, their products and the gated queries to the pixels
            around them, by maxima of 3x3, for the sparse maps of events. "channels" is what the
            released code computes in its place: see `ChannelPool`.
        heads: Heads of `ChannelPool`, to which alone they matter.
    """

    def __init__(
        self,
        channels: int,
        neuron: Callable[[], nn.Module],
        mask_neuron: Callable[[], nn.Module],
        *,
        scale: float = 1.0,
        pools: AttentionPools = "none",
        heads: int = 1,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)
        if pools == "channels":
            warnings.warn(
                "official='channel_pools' takes maxima over neighbouring channels and over tokens "
                "that are no neighbours, as the released code does by mistake; leave it out unless "
                "a checkpoint was trained so",
                stacklevel=2,
            )

        def pool(where: AttentionPools) -> nn.Module:
            if where == "channels":
                return ChannelPool(heads)
            return nn.Identity() if where == "none" else nn.MaxPool2d(3, 1, 1)

        of_maps: AttentionPools = "none" if pools == "none" else "space"
        self.neuron = neuron()
        self.query = ConvNorm(channels, channels, 1)
        self.query_neuron = neuron()
        self.key = ConvNorm(channels, channels, 1)
        self.key_neuron = neuron()
        self.key_pool = pool(of_maps)
        self.value = ConvNorm(channels, channels, 1)
        self.value_neuron = neuron()
        self.value_pool = pool(of_maps)
        self.meet = Gate()
        self.meet_pool = pool(pools)
        self.sum = SpikeSum("tokens", scale=scale)
        self.mask_neuron = mask_neuron()
        self.gate = Gate()
        self.gate_pool = pool(pools)
        self.project = ConvNorm(channels, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        spikes = self.neuron(x)
        query = self.query_neuron(self.query(spikes))
        key = self.key_pool(self.key_neuron(self.key(spikes)))
        value = self.value_pool(self.value_neuron(self.value(spikes)))
        mask = self.mask_neuron(self.sum(self.meet_pool(self.meet(key, value))))
        current: Tensor = self.project(self.gate_pool(self.gate(query, mask)))
        return current


class ChannelPool(nn.Module):
    """Maximum of 3x3 over token number and channel of each head: a slip of the released code.

    There the map lies as [heads, tokens, channels of a head] when it is pooled, so that neighbours
    are the tokens before and after in raster order, row ends included, and neighbouring channels.

    Args:
        heads: Number of heads; must divide the channels.
    """

    untraceable = (
        "official='channel_pools' takes maxima over channels, as the released code does by "
        "mistake, which no graph can say; build the model without it, whose maxima are over space"
    )

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Pools x [N, C, H, W]."""
        tokens = x.unflatten(1, (self.heads, -1)).flatten(3).transpose(2, 3)
        pooled: Tensor = F.max_pool2d(tokens, 3, 1, 1).transpose(2, 3)
        return pooled.reshape(x.shape)
