"""The product of queries, keys and values, the one operation between two spike tensors."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.memory_format import is_channels_last


class AttentionProduct(nn.Module):
    """Linear attention Q (K^T V) * scale over the pixels of a map, head by head.

    Args:
        heads: Number of heads; must divide the channels of queries and of values.
        scale: Factor of the result.
        mean: Whether the sum over the keys is a mean, so that the result does not grow with the
            size of the map.
    """

    def __init__(self, heads: int, scale: float, *, mean: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.scale = scale
        self.mean = mean

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attends.

        Args:
            query: Spikes [N, C, H, W].
            key: Spikes [N, C, H', W']; of another map in cross attention.
            value: Spikes [N, C', H', W'], of as many channels or of others.

        Returns:
            Current [N, C', H, W].
        """
        return attention_product(query, key, value, self.heads, self.scale, mean=self.mean)

    def extra_repr(self) -> str:
        """Heads and scale."""
        return f"heads={self.heads}, scale={self.scale}, mean={self.mean}"


def attention_product(
    query: Tensor, key: Tensor, value: Tensor, heads: int, scale: float, *, mean: bool = False
) -> Tensor:
    """Q (K^T V) * scale, head by head; with `mean` over the number of keys."""
    factor = scale / key[0, 0].numel() if mean else scale
    if all(is_channels_last(x) for x in (query, key, value)):
        return _product_of_tokens(query, key, value, heads, factor)
    queries, keys, values = (split_heads(x, heads) for x in (query, key, value))
    context = values @ keys.transpose(-1, -2)
    return (context @ queries * factor).reshape(-1, value.shape[1], *query.shape[2:])


def _product_of_tokens(
    query: Tensor, key: Tensor, value: Tensor, heads: int, factor: float
) -> Tensor:
    """The product of maps whose channels lie last in memory, as do those of its result."""
    queries, keys, values = (
        x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (heads, -1)).transpose(1, 2)
        for x in (query, key, value)
    )
    attended = queries @ (keys.transpose(-1, -2) @ values) * factor
    by_pixel: Tensor = attended.transpose(1, 2).reshape(query.shape[0], *query.shape[2:], -1)
    return by_pixel.permute(0, 3, 1, 2)


def check_divides(name: str, parts: int, channels: int) -> None:
    """Refuses heads or groups that channels cannot be divided into.

    Args:
        name: What messages call them.
        parts: Their number.
        channels: Number of channels.

    Raises:
        UserError: If a channel is left.
    """
    if channels % parts:
        raise UserError(f"{name}={parts} does not divide the {channels} channels; pass a divisor")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, C, H, W] to [N, heads, C / heads, H * W]."""
    by_head: Tensor = x.unflatten(1, (heads, -1)).flatten(3)
    return by_head
