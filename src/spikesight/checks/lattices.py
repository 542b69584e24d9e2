"""Values that are whole numbers of a unit: spikes, counts and means of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_LEVELS = 255
_MOST_OF_A_MEAN = 65536
_MOST_DISTINCT = 8192
_SAMPLE = 1 << 18


@dataclass(frozen=True)
class Lattice:
    """Whole numbers of a unit.

    Attributes:
        unit: The unit; 0 where every value is 0.
        most: The largest magnitude in units.
        signed: Whether some are negative.
    """

    unit: float
    most: int
    signed: bool


def own_lattice(values: Tensor, most: int = _MOST_LEVELS) -> Lattice | None:
    """The coarsest unit of which all values are whole numbers; None if they are real.

    Args:
        values: Any shape.
        most: The largest magnitude in units that counts as small.
    """
    distinct = distinct_values(values)
    if distinct is None:
        return None
    signed = bool((distinct < 0).any())
    left = distinct.abs()
    largest = float(left.max()) if left.numel() else 0.0
    if largest == 0:
        return Lattice(0.0, 0, signed=False)
    tolerance = _tolerance(values) * largest
    unit = 0.0
    for value in left.tolist():  # Euclid's algorithm with a tolerance
        while value > tolerance:
            unit, value = value, unit % value
    if unit <= 0 or largest / unit > most + 0.5:
        return None
    counts = left / unit
    if bool(((counts - counts.round()).abs() > 0.02).any()):
        return None
    return Lattice(unit, round(largest / unit), signed)


def mean_of(values: Tensor, unit: float) -> int | None:
    """N if all values are whole numbers of unit / N, such as means of N spikes; None if real.

    Args:
        values: Any shape.
        unit: That of one spike.
    """
    distinct = distinct_values(values)
    if distinct is None:
        return None
    counts = distinct / unit
    with_zero = torch.cat([counts.new_zeros(1), counts]).unique()
    gaps = with_zero.diff()
    gaps = gaps[gaps > 0.5 / _MOST_OF_A_MEAN]
    smallest = float(gaps.min()) if gaps.numel() else 1.0
    precision = _tolerance(values) / 64
    for multiple in range(1, 9):
        number = max(1, round(multiple / smallest))
        few = len(distinct) < 6
        if number > (64 if few else _MOST_OF_A_MEAN):
            break
        scaled = counts * number
        allowed = 0.02 + precision * scaled.abs()
        if bool(((scaled - scaled.round()).abs() <= allowed.clamp(max=0.1)).all()):
            return number
    return None


def distinct_values(values: Tensor) -> Tensor | None:
    """The different finite values, in float64; None if they are too many to be counts."""
    if values.is_complex():
        return None
    flat = values.detach().flatten()
    if flat.numel() > _SAMPLE:
        flat = flat[:: flat.numel() // _SAMPLE]
    distinct: Tensor = flat.double().unique()
    if len(distinct) > _MOST_DISTINCT or not bool(distinct.isfinite().all()):
        return None
    return distinct


def _tolerance(values: Tensor) -> float:
    """Relative errors that rounding and a few additions leave."""
    epsilon = torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
    return max(1e-5, 8 * epsilon)
