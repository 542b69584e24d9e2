"""Fixed-point numbers: grids, short gains and quantised weights."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

GAIN_BITS = 8
"""Significant bits of a gain."""
LEAST_PEAK = 2.0**-16
"""Weights and images below it are as good as zero."""


def finer_bits(units: Tensor, bits: int) -> int:
    """Bits to add to a current's grid so that a threshold of so many units has `bits` bits."""
    return max(0, bits - math.floor(math.log2(float(units.min()))))


def grid_of(values: Tensor) -> Tensor:
    """The largest powers of two of which the values are whole multiples."""
    mantissa, exponent = torch.frexp(values)
    whole = (mantissa * 2.0**53).to(torch.int64)
    lowest = whole & -whole
    return lowest.double() * torch.exp2(exponent.double() - 53)


def on_common_grid(*values: Tensor) -> list[npt.NDArray[np.object_]]:
    """Numbers, float64, as Python's integers in units of one power of two; nothing is rounded."""
    parts = [np.frexp(value.numpy()) for value in values]
    lowest = min(int(exponents.min()) for _, exponents in parts)
    return [
        np.ldexp(mantissas, 53).astype(np.int64).astype(object)
        << (exponents - lowest).astype(object)
        for mantissas, exponents in parts
    ]


def peaks(weight: Tensor) -> Tensor:
    """Largest magnitude per output channel; 1 where a channel is zero and any scale will do."""
    largest = weight.abs().flatten(1).amax(1)
    return torch.where(largest == 0, 1.0, largest.clamp(min=LEAST_PEAK))


def largest_weight(bits: int) -> int:
    """The largest integer of so many bits, and its negative the smallest used."""
    return int(2 ** (bits - 1) - 1)


def quantise(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The nearest integers, int8, of a weight [C_out, ...] at scales [C_out]."""
    largest = largest_weight(bits)
    steps = weight / scale.view(-1, *[1] * (weight.ndim - 1))
    return steps.round_().clamp_(-largest, largest).to(torch.int8)


def are_powers_of_two(values: Tensor) -> bool:
    """Whether every value is one."""
    mantissa, _ = torch.frexp(values)
    return bool((mantissa == 0.5).all())


def round_up_short(values: Tensor, bits: int) -> Tensor:
    """The next numbers that are a `bits`-bit integer times a power of two."""
    _, exponent = torch.frexp(values)
    grid = torch.exp2(exponent.double() - bits)
    return (values / grid).ceil() * grid


def nearest_short(value: float) -> float:
    """The nearest number of `GAIN_BITS` significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**GAIN_BITS), exponent - GAIN_BITS)
