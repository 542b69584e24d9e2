"""Dual spike self-attention (SpikingResformer, CVPR 2024): currents weighted by spikes, twice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spikesight.attention.product import check_divides, split_heads
from spikesight.synapses import ConvNorm

_KEPT = 0.999


class RunningRate(nn.Module):
    """Running mean of the squared spikes of each head, which scales sums that they weight.

    Of binary spikes it is the firing rate f: a sum of n currents of variance 1, each weighted by a
    spike, has variance n f. With counts of any unit the same holds of the mean square. In training
    it moves before it is used, by 0.001 of what the batch gives; evaluation takes it as it is.

    A head starts with what its own first spikes give, however late these come. Until then it is
    taken to fire always, so that a scale is finite and a gradient reaches the silent head. The
    released code starts all heads by the first batch and has infinite scales where one is silent.

    Args:
        heads: Number of heads.

    Attributes:
        running_mean: The rates [heads, 1, 1]; 0 of a head that has not fired yet.
    """

    running_mean: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(heads, 1, 1))

    def forward(self, spikes: Tensor, summands: int) -> Tensor:
        """The scale 1 / sqrt(n f) [heads, 1, 1] of sums over n summands.

        Args:
            spikes: The spikes [T*B, heads, ...] that weight them.
            summands: How many are added up, n.
        """
        if self.training:
            self._follow(spikes.detach())
        rate = self.running_mean
        return (torch.where(rate > 0, rate, 1.0) * summands).rsqrt()

    @torch.no_grad()
    def _follow(self, spikes: Tensor) -> None:
        rate = self.running_mean
        others = (0, *range(2, spikes.ndim))
        new = spikes.square().mean(others, dtype=rate.dtype).view_as(rate)
        rate.copy_(_KEPT * torch.where(rate > 0, rate, new) + (1 - _KEPT) * new)


class DualSpikeSelfAttention(nn.Module):
    """Neuron s; y1, y2 = norm(p x p(s)); A = neuron(c1 y1^T s); neuron(c2 y2 A); norm(1x1).

    DSSA of SpikingResformer. The attention map A [keys M, queries N] of a head holds
    spikes. In both products one operand is spikes and the other a current, so that they add and do
    not multiply; c1 = 1 / sqrt(f_s d) and c2 = 1 / sqrt(f_A M) follow the firing rates of s and A
    in training and are constants afterwards (`RunningRate`). The branch is one of a stream of
    currents.

    Args:
        channels: Channels C of the stream.
        heads: Number of heads h of d = C / h channels; must divide `channels`.
        patch: Side p of the patches of which each is one key.
        neuron: Builds a neuron, those behind the products included.
        keys: What c2 takes for M, as the released code fixes it at the size of training; None for
            the keys that there are.
    """

    untraceable = (
        "SpikingResformer's attention multiplies a current by spikes in both of its products, and "
        "no graph can say an operand that is neither weights nor spikes; train and evaluate it as "
        "it is, and take a family whose attention is between spikes (maxformer_nano, say) for "
        "verify, fold, deploy, energy and exports"
    )

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
        self.heads, self.keys = heads, keys
        self.neuron = neuron()
        self.patches = ConvNorm(channels, 2 * channels, patch, stride=patch, padding=0)
        self.spike_rate = RunningRate(heads)
        self.map_neuron = neuron()
        self.map_rate = RunningRate(heads)
        self.attention_neuron = neuron()
        self.project = ConvNorm(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream, H and W divisible by p."""
        spikes = self.neuron(x)
        by_head = split_heads(spikes, self.heads)
        keys, values = split_heads(self.patches(spikes), self.heads).chunk(2, 2)
        scale = self.spike_rate(by_head, by_head.shape[2])
        attention = self.map_neuron(keys.transpose(-1, -2) @ by_head * scale)
        scale = self.map_rate(attention, self.keys or attention.shape[2])
        attended = (values @ attention * scale).reshape(x.shape)
        current: Tensor = self.project(self.attention_neuron(attended))
        return current

    def extra_repr(self) -> str:
        """Heads, and the keys where they are fixed."""
        return f"heads={self.heads}" + ("" if self.keys is None else f", keys={self.keys}")
