"""Spike-driven self-attention of Meta-SpikeFormer (SDT-V2) and QSD-Transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from spikesight.attention.product import AttentionProduct, check_divides
from spikesight.attention.spike_driven_rep_conv import SpikeDrivenRepConv
from spikesight.synapses import RepConv

RepConvForm = Literal["official", "spike_driven"]


class SpikeDrivenSelfAttention(nn.Module):
    """Neuron, RepConv to Q, K and V, their neurons, Q (K^T V), neuron, RepConv.

    No softmax and no positional embedding (QSD-Transformer eq. 6; SDT-V2's SDSA-3).

    Args:
        channels: Channels of the residual stream.
        heads: Number of heads; must divide `channels`.
        scale: Factor of the attention product (SDT-V2 0.125).
        neuron: Builds an ordinary neuron.
        attention_neuron: Builds the neuron after the product.
        rectified: Whether the MPRF stands before the query, key and value neurons (eq. 12).
        rep_conv: "official" folds RepConv's three factors into one dense kernel; "spike_driven" has
            a neuron between each two of them.
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
        rectified: bool = False,
        rep_conv: RepConvForm = "official",
        mean: bool = False,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)

        def projection(*, rectified: bool) -> nn.Module:
            if rep_conv == "official":
                return RepConv(channels, channels, rectified=rectified)
            return SpikeDrivenRepConv(channels, channels, neuron, rectified=rectified)

        self.neuron = neuron()
        self.query = projection(rectified=rectified)
        self.query_neuron = neuron()
        self.key = projection(rectified=rectified)
        self.key_neuron = neuron()
        self.value = projection(rectified=rectified)
        self.value_neuron = neuron()
        self.product = AttentionProduct(heads, scale, mean=mean)
        self.attention_neuron = attention_neuron()
        self.project = projection(rectified=False)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        spikes = self.neuron(x)
        query = self.query_neuron(self.query(spikes))
        key = self.key_neuron(self.key(spikes))
        value = self.value_neuron(self.value(spikes))
        attended: Tensor = self.attention_neuron(self.product(query, key, value))
        projected: Tensor = self.project(attended)
        return projected
