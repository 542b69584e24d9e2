"""Products of a current with spikes, scaled by how often these fire (SpikingResformer)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from spikesight.attention.product import split_heads
from spikesight.errors import UserError

_KEPT = 0.999
WeightedAxis = Literal["channels", "keys"]


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

    def forward(self, spikes: Tensor) -> Tensor:
        """The rates [heads], those of heads that never fired being 1.

        Args:
            spikes: The spikes [T*B, heads, ...] that weight currents.
        """
        if self.training:
            self._follow(spikes.detach())
        return self.frozen()

    def frozen(self) -> Tensor:
        """The rates [heads] as evaluation takes them."""
        rate = self.running_mean.flatten()
        return torch.where(rate > 0, rate, 1.0)

    @torch.no_grad()
    def _follow(self, spikes: Tensor) -> None:
        rate = self.running_mean
        others = (0, *range(2, spikes.ndim))
        new = spikes.square().mean(others, dtype=rate.dtype).view_as(rate)
        rate.copy_(_KEPT * torch.where(rate > 0, rate, new) + (1 - _KEPT) * new)


class CurrentProduct(nn.Module):
    """Sums of a current's elements where there are spikes, head by head, over sqrt(n f).

    The dual spike transformation of SpikingResformer. One operand is spikes and the other a
    current, so that it adds and does not multiply. Over "channels" it compares: keys Y that are
    currents with a map of spikes S, Y^T S, which gives one channel per head and key. Over "keys" it
    attends: values Y that are currents with the spikes A of such channels, Y A. A sum of n elements
    is divided by sqrt(n f), f being the running rate of its head's spikes: a constant in
    evaluation.

    Args:
        heads: Number of heads; must divide the channels of both.
        over: What is summed.
        summands: What n is taken for, whatever the map; None for as many as there are.
    """

    def __init__(self, heads: int, over: WeightedAxis, summands: int | None = None) -> None:
        super().__init__()
        if over not in get_args(WeightedAxis):
            raise UserError(f"over is {over!r}; pass 'channels' or 'keys'")
        if summands is not None and summands < 1:
            raise UserError(f"summands is {summands}; pass at least 1, or None for those there are")
        self.heads, self.summands = heads, summands
        self.over: WeightedAxis = over
        self.rate = RunningRate(heads)

    def forward(self, current: Tensor, spikes: Tensor) -> Tensor:
        """Adds up.

        Args:
            current: [N, C, h, w], each of whose M = h * w pixels is a key.
            spikes: [N, C, H, W], or over keys [N, heads * M, H, W].

        Returns:
            Current [N, heads * M, H, W], or over keys [N, C, H, W].
        """
        rate = self.rate(split_heads(spikes, self.heads))
        return current_product(current, spikes, self.over, rate, self.summands)

    def extra_repr(self) -> str:
        """Heads, what is summed, and its number where that is fixed."""
        fixed = "" if self.summands is None else f", summands={self.summands}"
        return f"heads={self.heads}, over={self.over!r}{fixed}"


def current_product(
    current: Tensor, spikes: Tensor, over: WeightedAxis, rate: Tensor, summands: int | None = None
) -> Tensor:
    """What `CurrentProduct` computes, with the rates [heads] of the spikes."""
    summed = sums_of_current(current, spikes, over, len(rate))
    count = summands or summed_elements(current.shape, over, len(rate))
    scale = (rate * count).rsqrt()
    scaled: Tensor = summed.unflatten(1, (len(rate), -1)) * scale.view(-1, 1, 1, 1)
    return scaled.flatten(1, 2)


def sums_of_current(current: Tensor, spikes: Tensor, over: WeightedAxis, heads: int) -> Tensor:
    """The bare sums; shapes as of `CurrentProduct`."""
    operand, by_head = split_heads(current, heads), split_heads(spikes, heads)
    if over == "channels":
        operand = operand.transpose(-1, -2)
    return (operand @ by_head).reshape(len(spikes), -1, *spikes.shape[2:])


def summed_elements(current: tuple[int, ...], over: WeightedAxis, heads: int) -> int:
    """How many elements of a current of this shape [N, C, h, w] each sum has."""
    _, channels, height, width = current
    return channels // heads if over == "channels" else height * width
