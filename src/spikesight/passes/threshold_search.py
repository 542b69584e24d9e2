"""Which threshold suits what a neuron sees: by its currents' histogram, without labels."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from spikesight.errors import UserError

ThresholdRule = Literal["mse", "percentile"]

_BINS = 4096
_CANDIDATES = 400
_FINEST = 1 / 100  # of the largest current: where the search for the topmost level begins


class CurrentHistogram:
    """How often a neuron's potential lies where, over any number of calls.

    Values below zero, at which it is silent whatever its threshold, are counted and not placed.
    The range doubles whenever a value lies beyond it, so that one pass over the data suffices.

    Attributes:
        largest: The largest value so far; 0 if none was positive.
        total: How many values there were.
        counts: Positive values in bins of equal width [4096], float64.
        top: The upper end of the bins.
    """

    def __init__(self) -> None:
        self.largest = 0.0
        self.total = 0
        self.top = 0.0
        self.counts = torch.zeros(_BINS, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Counts values of any shape, of which what is not positive counts as silence.

        Raises:
            UserError: If one is not finite.
        """
        values = values.detach().float()
        largest = float(values.max()) if values.numel() else 0.0
        if not math.isfinite(largest):
            raise UserError(
                "currents of the network are not finite, so no threshold suits them; convert an "
                "earlier checkpoint"
            )
        self.total += values.numel()
        if largest <= 0:
            return
        self.largest = max(self.largest, largest)
        if self.top == 0:
            self.top = largest
        while self.top < largest:
            self.counts = torch.cat(
                [self.counts.view(-1, 2).sum(1), self.counts.new_zeros(_BINS // 2)]
            )
            self.top *= 2
        positive = values[values > 0]
        self.counts += torch.histc(positive, _BINS, 0, self.top).double().cpu()

    def merged(self, other: CurrentHistogram) -> CurrentHistogram:
        """What both have seen."""
        both = CurrentHistogram()
        both.largest = max(self.largest, other.largest)
        both.total = self.total + other.total
        both.top = max(self.top, other.top)
        for part in (self, other):
            if part.top == 0:
                continue
            places = (_centres(part.top) / both.top * _BINS).long().clamp(max=_BINS - 1)
            both.counts.index_add_(0, places, part.counts)
        return both

    def percentile(self, percent: float) -> float:
        """The value that so many percent of all values, silence included, do not exceed."""
        silent = self.total - float(self.counts.sum())
        below = silent + self.counts.cumsum(0)
        place = int((below < percent / 100 * self.total).sum())
        return min(self.top * (place + 1) / _BINS, self.largest)

    def least_error(self, levels: int) -> float:
        """The highest level at which D levels below it have the least squared error.

        The error is that of round(clip(X / step, 0, D)) * step against max(X, 0).

        Args:
            levels: D.
        """
        centres = _centres(self.top)
        grid = torch.linspace(_FINEST, 1, _CANDIDATES, dtype=torch.float64)
        tops = self.largest * grid
        steps = (tops / levels)[:, None]
        rounded = (centres / steps).round().clamp(max=levels) * steps
        errors = ((rounded - centres).square() * self.counts).sum(1)
        return float(tops[errors.argmin()])


def _centres(top: float) -> Tensor:
    return (torch.arange(_BINS, dtype=torch.float64) + 0.5) * (top / _BINS)


def highest_level(
    seen: CurrentHistogram, levels: int, rule: ThresholdRule, percentile: float
) -> float | None:
    """Where the topmost of D levels should lie.

    Args:
        seen: What the neuron saw.
        levels: D.
        rule: "mse", or "percentile" of all values.
        percentile: Which one, in (0, 100].

    Returns:
        The value, positive; None for a neuron that is always silent.
    """
    if seen.largest <= 0:
        return None
    if rule == "mse":
        return seen.least_error(levels)
    return seen.percentile(percentile) or seen.largest
