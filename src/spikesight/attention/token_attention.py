"""Token attention of QKFormer: queries say which tokens' keys pass, in time linear in tokens."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from spikesight.attention.gate import Gate, SpikeSum
from spikesight.attention.product import check_divides
from spikesight.synapses import ConvNorm


class TokenAttention(nn.Module):
    """Q, K = neuron(norm(1x1)); K gated by neuron(sum over a head's channels of Q); norm(1x1).

    The gate has one spike per token and head (QKTA of QKFormer, NeurIPS 2024). There are no values,
    no product of matrices and no scale.

    Args:
        channels: Channels of the input.
        heads: Number of heads; must divide `channels`.
        neuron: Builds an ordinary neuron.
        attention_neuron: Builds the neuron behind the sum (LIF: threshold 0.5).
        neuron_first: Whether a neuron stands before the first projections instead of behind the
            last one, so that the branch is one of a stream of currents (MS-QKFormer).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        neuron: Callable[[], nn.Module],
        attention_neuron: Callable[[], nn.Module],
        *,
        neuron_first: bool = False,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)
        self.neuron = neuron() if neuron_first else nn.Identity()
        self.query = ConvNorm(channels, channels, 1)
        self.query_neuron = neuron()
        self.key = ConvNorm(channels, channels, 1)
        self.key_neuron = neuron()
        self.sum = SpikeSum("channels", heads)
        self.attention_neuron = attention_neuron()
        self.gate = Gate()
        self.project = ConvNorm(channels, channels, 1, bias=True)
        self.project_neuron = nn.Identity() if neuron_first else neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (or a current) [T*B, C, H, W] of the branch from counts (or the stream)."""
        x = self.neuron(x)
        query = self.query_neuron(self.query(x))
        key = self.key_neuron(self.key(x))
        tokens = self.attention_neuron(self.sum(query))
        branch: Tensor = self.project_neuron(self.project(self.gate(key, tokens)))
        return branch
