"""Spiking self-attention (SSA) of Spikformer V1 and V2, and the softmax attention it replaced."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from spikesight.attention.product import AttentionProduct, check_divides
from spikesight.neurons import Neuron
from spikesight.synapses import ConvNorm, MembraneRectifier, Synapse


class SpikingSelfAttention(nn.Module):
    """Q, K, V = neuron(norm(1x1)); Q (K^T V) * scale, neuron, 1x1, norm, neuron.

    Queries, keys and values are spikes, so the product needs no softmax; (Q K^T) V of the released
    CIFAR and DVS code is the same integer. The result is spikes, which the residual adds as they
    are (SEW's ADD); with a neuron first instead of last it is a current (Max-Former).

    Args:
        channels: Channels of the input.
        heads: Number of heads; must divide `channels`.
        scale: Factor of the attention product (released: 0.125, CIFAR10-DVS 0.25).
        neuron: Builds an ordinary neuron.
        attention_neuron: Builds the neuron after the product (LIF: threshold 0.5).
        bias: Whether the three projections have a bias beside the normalisation's.
        project_bias: Whether the last projection has one.
        rectified: Whether QSD-Transformer's MPRF stands before the query, key and value neurons.
        neuron_first: Whether the last neuron stands before the first projections instead, so that
            the branch is one of a stream of currents.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        scale: float,
        neuron: Callable[[], Neuron],
        attention_neuron: Callable[[], Neuron],
        *,
        bias: bool = False,
        project_bias: bool = True,
        rectified: bool = False,
        neuron_first: bool = False,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)
        self.neuron = neuron() if neuron_first else nn.Identity()
        self.query = _projection(channels, bias, rectified)
        self.query_neuron = neuron()
        self.key = _projection(channels, bias, rectified)
        self.key_neuron = neuron()
        self.value = _projection(channels, bias, rectified)
        self.value_neuron = neuron()
        self.product = AttentionProduct(heads, scale)
        self.attention_neuron = attention_neuron()
        self.project = ConvNorm(channels, channels, 1, bias=project_bias)
        self.project_neuron = nn.Identity() if neuron_first else neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (or a current) [T*B, C, H, W] of the branch from counts (or the stream)."""
        x = self.neuron(x)
        query = self.query_neuron(self.query(x))
        key = self.key_neuron(self.key(x))
        value = self.value_neuron(self.value(x))
        attended: Tensor = self.attention_neuron(self.product(query, key, value))
        branch: Tensor = self.project_neuron(self.project(attended))
        return branch


class SoftmaxProduct(nn.Module):
    """softmax(Q K^T / sqrt(head_dim)) V over the pixels of a map, head by head.

    Args:
        heads: Number of heads; must divide the channels.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attends over real-valued maps [N, C, H, W]; returns one of that shape."""
        q, k, v = (x.unflatten(1, (self.heads, -1)).flatten(3) for x in (query, key, value))
        shares = (q.transpose(-1, -2) @ k * q.shape[2] ** -0.5).softmax(-1)
        attended: Tensor = (v @ shares.transpose(-1, -2)).reshape(query.shape)
        return attended


class SoftmaxSelfAttention(nn.Module):
    """Vanilla self-attention in the place of SSA: a baseline to compare it with.

    Queries, keys and values are the real-valued currents, without neurons, and softmax normalises
    the similarities. It multiplies real numbers and divides, so it has no spike or integer form:
    `trace` refuses it by name.

    Args:
        channels: Channels of the input.
        heads: Number of heads; must divide `channels`.
        neuron: Builds a neuron.
    """

    def __init__(self, channels: int, heads: int, neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        check_divides("heads", heads, channels)
        self.query = ConvNorm(channels, channels, 1)
        self.key = ConvNorm(channels, channels, 1)
        self.value = ConvNorm(channels, channels, 1)
        self.product = SoftmaxProduct(heads)
        self.attention_neuron = neuron()
        self.project = ConvNorm(channels, channels, 1, bias=True)
        self.project_neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T*B, C, H, W] of the branch from counts [T*B, C, H, W]."""
        attended = self.product(self.query(x), self.key(x), self.value(x))
        spikes: Tensor = self.project_neuron(self.project(self.attention_neuron(attended)))
        return spikes


def _projection(channels: int, bias: bool, rectified: bool) -> Synapse:
    synapse = ConvNorm(channels, channels, 1, bias=bias)
    if rectified:
        synapse.add_module("rectifier", MembraneRectifier(channels))
    return synapse
