"""The product of queries, keys and values, the one operation between two spike tensors."""

from __future__ import annotations

from torch import Tensor, nn


class AttentionProduct(nn.Module):
    """Linear attention Q (K^T V) * scale over the pixels of a map, head by head.

    Args:
        heads: Number of heads; must divide the channels.
        scale: Factor of the result.
    """

    def __init__(self, heads: int, scale: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attends.

        Args:
            query: Spikes [N, C, H, W].
            key: Spikes [N, C, H, W].
            value: Spikes [N, C, H, W].

        Returns:
            Current [N, C, H, W].
        """
        return attention_product(query, key, value, self.heads, self.scale)

    def extra_repr(self) -> str:
        """Heads and scale."""
        return f"heads={self.heads}, scale={self.scale}"


def attention_product(
    query: Tensor, key: Tensor, value: Tensor, heads: int, scale: float
) -> Tensor:
    """Q (K^T V) * scale on maps [N, C, H, W] with C = heads * head_dim."""
    batch, channels, height, width = query.shape
    shape = (batch, heads, channels // heads, height * width)
    query, key, value = (x.reshape(shape) for x in (query, key, value))
    context = value @ key.transpose(-1, -2)
    return (context @ query * scale).reshape(batch, channels, height, width)
