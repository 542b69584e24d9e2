"""Attention without matrix products: a spike map that others gate, and sums that feed the gates."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from spikesight.attention.product import check_divides
from spikesight.errors import UserError

SummedAxis = Literal["tokens", "channels"]


class Gate(nn.Module):
    """Product of a spike map and of spikes that gate it, element by element.

    The gate is a map of the same shape (Spike-driven Transformer's K * V), one spike per channel
    (its Q * SN(sum over tokens)) or one per token, of all channels or of each head's (QKFormer's
    token attention). Between binary spikes it is an AND; counts multiply.
    """

    def forward(self, x: Tensor, by: Tensor) -> Tensor:
        """Gates.

        Args:
            x: Spikes [N, C, H, W].
            by: Spikes [N, C', H', W'] with C' a divisor of C, each for C / C' channels that follow
                one another, and H' x W' either H x W or 1 x 1.

        Returns:
            Spikes [N, C, H, W], worth the product of both units.

        Raises:
            UserError: If the shapes do not fit.
        """
        return gate(x, by)


class SpikeSum(nn.Module):
    """Number of spikes over all tokens of each channel, or over the channels of each head.

    A neuron reads it, whose spikes then gate a map.

    Args:
        over: "tokens" or "channels".
        heads: Number of heads, where it is over channels; must divide them.
        scale: Factor of the result.
    """

    def __init__(self, over: SummedAxis, heads: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        if over not in ("tokens", "channels"):
            raise UserError(f"over is {over!r}; pass 'tokens' or 'channels'")
        if heads < 1 or (over == "tokens" and heads != 1):
            raise UserError(
                f"heads is {heads}; pass at least 1, and over tokens none: channels stay apart"
            )
        self.over: SummedAxis = over
        self.heads = heads
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Sums spikes [N, C, H, W] to [N, C, 1, 1], or over channels to [N, heads, H, W].

        Raises:
            UserError: If the heads do not divide the channels.
        """
        return spike_sum(x, self.over, self.heads) * self.scale

    def extra_repr(self) -> str:
        """What is summed."""
        return f"over={self.over!r}, heads={self.heads}, scale={self.scale}"


def gate(x: Tensor, by: Tensor) -> Tensor:
    """What `Gate` computes."""
    channels, gates = x.shape[1], by.shape[1]
    if not gate_fits(channels, tuple(x.shape[2:]), gates, tuple(by.shape[2:])):
        raise UserError(
            f"a gate of shape {tuple(by.shape)} fits no map of shape {tuple(x.shape)}; pass "
            "[N, C', H', W'] with C' a divisor of the channels and as many pixels, or one"
        )
    if gates in (1, channels):
        return x * by
    gated: Tensor = x.unflatten(1, (gates, -1)) * by.unsqueeze(2)
    return gated.flatten(1, 2)


def gate_fits(channels: int, size: tuple[int, ...], gates: int, gate_size: tuple[int, ...]) -> bool:
    """Whether a gate of so many channels and pixels fits a map."""
    return len(size) == 2 and channels % gates == 0 and gate_size in (size, (1, 1))


def spike_sum(x: Tensor, over: SummedAxis, heads: int = 1) -> Tensor:
    """What `SpikeSum` computes, without its scale."""
    if over == "tokens":
        return x.sum((-2, -1), keepdim=True)
    check_divides("heads", heads, x.shape[1])
    by_head: Tensor = x.unflatten(1, (heads, -1))
    return by_head.sum(2)
