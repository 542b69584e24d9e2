"""Dual spike self-attention (SpikingResformer, CVPR 2024): currents weighted by spikes, twice."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from spikesight.attention.current_product import CurrentProduct
from spikesight.attention.product import check_divides
from spikesight.synapses import ConvNorm


class DualSpikeSelfAttention(nn.Module):
    """Neuron s; y1, y2 = norm(p x p(s)); A = neuron(c1 y1^T s); neuron(c2 y2 A); norm(1x1).

    DSSA of SpikingResformer. The attention map A of a head has a spike for every key M and query
    N. In both products one operand is spikes and the other a current, so that they add and do
    not multiply; c1 = 1 / sqrt(f_s d) and c2 = 1 / sqrt(f_A M) follow the firing rates of s and A
    in training and are constants afterwards (`CurrentProduct`). The branch is one of a stream of
    currents.

    Args:
        channels: Channels C of the stream.
        heads: Number of heads h of d = C / h channels; must divide `channels`.
        patch: Side p of the patches of which each is one key.
        neuron: Builds a neuron, those behind the products included.
        keys: What c2 takes for M, as the released code fixes it at the size of training; None for
            the keys that there are.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        patch: int,
        neuron: Callable[[], nn.Module],
        *,
        keys: int | None = None,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)
        self.neuron = neuron()
        self.key = ConvNorm(channels, channels, patch, stride=patch, padding=0)
        self.value = ConvNorm(channels, channels, patch, stride=patch, padding=0)
        self.map_product = CurrentProduct(heads, "channels")
        self.map_neuron = neuron()
        self.product = CurrentProduct(heads, "keys", keys)
        self.attention_neuron = neuron()
        self.project = ConvNorm(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream, H and W divisible by p."""
        spikes = self.neuron(x)
        attention = self.map_neuron(self.map_product(self.key(spikes), spikes))
        attended = self.attention_neuron(self.product(self.value(spikes), attention))
        current: Tensor = self.project(attended)
        return current
