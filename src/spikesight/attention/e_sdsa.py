"""Efficient spike-driven self-attention (E-SDSA) of E-SpikeFormer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from spikesight.attention.product import AttentionProduct, check_divides
from spikesight.synapses import ConvNorm, Synapse

Projection = Literal["pointwise", "rep_conv"]
_REP_CONV_RATIO = 1.5


class PointwiseRepConv(Synapse):
    """Two pointwise convolutions and three normalisations, without a neuron: one matrix.

    E-SpikeFormer's large networks call it RepConv, though nothing in it is larger than a pixel.

    Args:
        in_channels: Channels of the spikes.
        out_channels: Channels of the current.
        ratio: Channels between the two over `in_channels`.
        outer_norm: Whether the third normalisation is there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        ratio: float = _REP_CONV_RATIO,
        outer_norm: bool = True,
    ) -> None:
        hidden = int(ratio * in_channels)
        super().__init__(
            OrderedDict(
                expand=nn.Conv2d(in_channels, hidden, 1, bias=False),
                inner_norm=nn.BatchNorm2d(hidden),
                project=nn.Conv2d(hidden, out_channels, 1, bias=False),
                norm=nn.BatchNorm2d(out_channels),
            )
        )
        if outer_norm:
            self.add_module("outer_norm", nn.BatchNorm2d(out_channels))


class EfficientSpikeDrivenSelfAttention(nn.Module):
    """Neuron, linear maps to Q, K and wide V, their neurons, Q (K^T V), neuron, linear map.

    Pointwise maps in place of SDSA's RepConvs; the values are widened to make up for them (arXiv
    2411.16061). No softmax and no position.

    Args:
        channels: Channels of the residual stream.
        heads: Number of heads; must divide `channels`.
        scale: Factor of the attention product.
        neuron: Builds an ordinary neuron.
        attention_neuron: Builds the neuron after the product.
        value_ratio: Channels of the values over those of queries and keys.
        projection: "pointwise" maps by one convolution, "rep_conv" by two.
        mean: Whether the sum over the keys is a mean.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        scale: float,
        neuron: Callable[[], nn.Module],
        attention_neuron: Callable[[], nn.Module],
        *,
        value_ratio: int = 4,
        projection: Projection = "pointwise",
        mean: bool = False,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)

        def linear(from_channels: int, to_channels: int) -> nn.Module:
            if projection == "pointwise":
                return ConvNorm(from_channels, to_channels, 1)
            return PointwiseRepConv(from_channels, to_channels)

        values = value_ratio * channels
        self.neuron = neuron()
        self.query, self.query_neuron = linear(channels, channels), neuron()
        self.key, self.key_neuron = linear(channels, channels), neuron()
        self.value, self.value_neuron = linear(channels, values), neuron()
        self.product = AttentionProduct(heads, scale, mean=mean)
        self.attention_neuron = attention_neuron()
        self.project = linear(values, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        spikes = self.neuron(x)
        query = self.query_neuron(self.query(spikes))
        key = self.key_neuron(self.key(spikes))
        value = self.value_neuron(self.value(spikes))
        attended: Tensor = self.attention_neuron(self.product(query, key, value))
        projected: Tensor = self.project(attended)
        return projected
