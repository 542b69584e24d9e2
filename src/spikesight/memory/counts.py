"""Spikes in the few bits that their counts need.

A neuron gives `unit * n` with a whole number n; sums and maxima of such tensors are of that kind
too. `pack` finds out by trying, bit for bit, and `unpack` gives back the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_FIRST = 256  # what is no count shows early
_BLOCK = 1 << 16  # stays in a core's cache
_MOST = 255
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Eight bytes of 0 and 1 times this have byte i as bit 7 - i of the highest byte; a byte times this
# has its bit 7 - i as the highest bit of byte i.
_SPREAD = 0x8040201008040201 - (1 << 64)
_TOPS = 0x8080808080808080 - (1 << 64)
_ONES = 0x0101010101010101


@dataclass(frozen=True)
class PackedCounts:
    """A flat tensor `unit * n`.

    Attributes:
        data: The counts n, uint8; several in a byte where `bits` is less than 8.
        bits: Bits of a count: 1, 2, 4 or 8.
        unit: The value of one count.
        length: Number of counts.
        dtype: That of the tensor.
    """

    data: Tensor
    bits: int
    unit: float
    length: int
    dtype: torch.dtype


def pack(values: Tensor, unit: float) -> PackedCounts | None:
    """Packs `unit * n` with n from 0 to 255.

    Args:
        values: Floating-point numbers [M], contiguous.
        unit: The value of one count.

    Returns:
        The counts, or None where `unpack` would not give the same bits (a negative zero, too).
    """
    counts = torch.empty(values.shape, dtype=torch.uint8, device=values.device)
    for part in _blocks(len(values)):
        counts[part] = _counts(values[part], unit)
        if not _same_bits(_values(counts[part], unit, values.dtype), values[part]):
            return None
    most = int(counts.max()) if len(counts) else 0
    bits = next(bits for bits in (1, 2, 4, 8) if most < 1 << bits)
    return PackedCounts(_join(counts, bits), bits, unit, len(values), values.dtype)


def unpack(packed: PackedCounts) -> Tensor:
    """What was packed, [M], in new memory."""
    counts = _part(packed.data, packed.bits)[: packed.length]
    if packed.unit == 1.0:
        return counts.to(packed.dtype)
    values = torch.empty(counts.shape, dtype=packed.dtype, device=counts.device)
    for part in _blocks(len(counts)):
        values[part] = _values(counts[part], packed.unit, packed.dtype)
    return values


def _blocks(length: int) -> Iterator[slice]:
    yield slice(0, min(_FIRST, length))
    for start in range(_FIRST, length, _BLOCK):
        yield slice(start, min(start + _BLOCK, length))


def _counts(values: Tensor, unit: float) -> Tensor:
    exact = values if values.dtype == torch.float64 else values.float()
    if unit != 1.0:
        exact = (exact / unit).round_()
    if exact.device.type != "cpu":
        return exact.clamp(0, _MOST).to(torch.uint8)
    with np.errstate(invalid="ignore"):  # what is no count is found when it is compared
        return torch.from_numpy(exact.numpy().astype(np.uint8))


def _values(counts: Tensor, unit: float, dtype: torch.dtype) -> Tensor:
    if unit == 1.0:
        return counts.to(dtype)
    # As neurons do: half precisions multiply in float32.
    exact = counts.to(dtype if dtype == torch.float64 else torch.float32)
    return exact.mul_(unit).to(dtype)


def _same_bits(first: Tensor, second: Tensor) -> bool:
    whole = _WHOLE[first.element_size()]
    first, second = first.view(whole), second.view(whole)
    if first.device.type != "cpu":
        return torch.equal(first, second)
    return np.array_equal(first.numpy(), second.numpy())


def _join(counts: Tensor, bits: int) -> Tensor:
    """Counts below 2^bits, several in a byte."""
    if bits == 8:
        return counts
    per_byte = 8 // bits
    missing = -len(counts) % per_byte
    if missing:
        counts = torch.cat([counts, counts.new_zeros(missing)])
    words = counts.view(_WHOLE[per_byte])
    if bits == 1:
        return (words * _SPREAD >> 56).to(torch.uint8)
    joined = words.clone()
    for place in range(1, per_byte):
        joined |= words >> (8 - bits) * place
    return (joined & 0xFF).to(torch.uint8)


def _part(data: Tensor, bits: int) -> Tensor:
    """The counts of `_join`, and zeros after them."""
    if bits == 8:
        return data
    words = data.to(_WHOLE[8 // bits])
    if bits == 1:
        return ((words * _SPREAD & _TOPS) >> 7 & _ONES).view(torch.uint8)
    parted = words.clone()
    mask = (1 << bits) - 1
    for place in range(1, 8 // bits):
        parted |= words << (8 - bits) * place
        mask |= mask << 8
    return (parted & mask).view(torch.uint8)
