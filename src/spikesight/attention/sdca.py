"""Spike-driven cross attention (SDCA) between queries and maps, and self-attention of queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from spikesight.attention.product import AttentionProduct, check_divides, split_heads
from spikesight.synapses import ConvNorm, RepConv, Synapse

Projection = Literal["linear", "rep_conv"]


class SpikeDrivenCrossAttention(nn.Module):
    """SN(BN(Conv(SN(.)))) to Q, K and V; SN(Q (K^T V) * scale); Conv and BN.

    Spike2Former eqs. 12-13 and its appendix, eqs. 6-10. No softmax. Self-attention of the queries
    is the case in which all inputs are the queries.

    Args:
        channels: Channels of queries and maps.
        heads: Number of heads; must divide `channels`.
        scale: Factor of the attention product.
        neuron: Builds a neuron.
        mean: Whether the sum over the keys is a mean.
        projection: "linear" is 1x1 convolution and normalisation; "rep_conv" what it replaced.
        bias: Whether the 1x1 convolutions have biases beside the normalisation's.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        scale: float,
        neuron: Callable[[], nn.Module],
        *,
        mean: bool = False,
        projection: Projection = "linear",
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_divides("heads", heads, channels)

        def project() -> Synapse:
            if projection == "rep_conv":
                return RepConv(channels, channels)
            return ConvNorm(channels, channels, 1, bias=bias)

        self.query_input_neuron = neuron()
        self.key_input_neuron = neuron()
        self.value_input_neuron = neuron()
        self.query = project()
        self.query_neuron = neuron()
        self.key = project()
        self.key_neuron = neuron()
        self.value = project()
        self.value_neuron = neuron()
        self.product = AttentionProduct(heads, scale, mean=mean)
        self.attention_neuron = neuron()
        self.project = project()

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Attends.

        Args:
            query: Queries as a map [T*B, C, 1, Q], positions added.
            key: Map [T*B, C, H, W], positions added.
            value: Map [T*B, C, H, W].
            mask: [T*B, Q, H * W] of 0 and 1, which keys a query sees (Mask2Former's masked
                attention); None for all.

        Returns:
            Current [T*B, C, 1, Q] of the branch.
        """
        queries = self.query_neuron(self.query(self.query_input_neuron(query)))
        keys = self.key_neuron(self.key(self.key_input_neuron(key)))
        values = self.value_neuron(self.value(self.value_input_neuron(value)))
        if mask is None:
            attended = self.product(queries, keys, values)
        else:
            attended = _masked_product(queries, keys, values, mask, self.product)
        current: Tensor = self.project(self.attention_neuron(attended))
        return current


def _masked_product(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, product: AttentionProduct
) -> Tensor:
    """((Q K^T) * mask) V * scale; the mean is over the keys that a query sees."""
    queries, keys, values = (split_heads(x, product.heads) for x in (query, key, value))
    scores = queries.transpose(-1, -2) @ keys * mask.unsqueeze(1)
    attended = values @ scores.transpose(-1, -2) * product.scale
    if product.mean:
        attended = attended / mask.sum(-1).clamp_min(1)[:, None, None]
    return attended.reshape(query.shape)
