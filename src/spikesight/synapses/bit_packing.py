"""Packs signed integers of a few bits into bytes without gaps.

The bits form one stream: value i takes the bits [i * bits, (i + 1) * bits), lowest first, in two's
complement; bit j of the stream is bit j % 8 (1, 2, 4, ...) of byte j // 8.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spikesight.errors import UserError

_BITS = range(2, 9)


def packed_length(count: int, bits: int) -> int:
    """Bytes that hold `count` values of `bits` bits."""
    return math.ceil(count * bits / 8)


def pack(values: Tensor, bits: int) -> Tensor:
    """Packs signed integers.

    Args:
        values: Integers from -2^(bits - 1) to 2^(bits - 1) - 1, of any shape and integer dtype.
        bits: Bits of a value, 2 to 8.

    Returns:
        The bit stream [ceil(count * bits / 8)], uint8; bits after the last value are zero.

    Raises:
        UserError: If `bits` or a value is out of range.
    """
    _check(bits)
    half = 2 ** (bits - 1)
    flat = values.detach().cpu().flatten()
    if flat.numel() and not (-half <= int(flat.min()) and int(flat.max()) < half):
        raise UserError(
            f"values from {int(flat.min())} to {int(flat.max())} do not fit into {bits} bits; "
            f"pass values from {-half} to {half - 1}"
        )
    octets = flat.to(torch.int8).numpy().view(np.uint8)[:, None]
    stream = np.unpackbits(octets, axis=1, count=bits, bitorder="little")
    return torch.from_numpy(np.packbits(stream, bitorder="little"))


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """Reads back what `pack` packed.

    Args:
        packed: The bit stream [ceil(count * bits / 8)], uint8.
        bits: Bits of a value, 2 to 8.
        count: Number of values.

    Returns:
        The values [count], int8.

    Raises:
        UserError: If `bits` is out of range or the stream has another dtype or length.
    """
    _check(bits)
    expected = packed_length(count, bits)
    if packed.dtype != torch.uint8 or packed.shape != (expected,):
        raise UserError(
            f"{count} values of {bits} bits take {expected} bytes; "
            f"found a tensor {list(packed.shape)} of {packed.dtype}"
        )
    stream = np.unpackbits(packed.cpu().numpy(), count=count * bits, bitorder="little")
    octets = np.packbits(stream.reshape(count, bits), axis=1, bitorder="little")
    # The sign bit moves to the top of the byte and is spread again by the arithmetic shift.
    signed = (octets[:, 0] << (8 - bits)).view(np.int8) >> (8 - bits)
    return torch.from_numpy(signed)


def _check(bits: int) -> None:
    if bits not in _BITS:
        raise UserError(f"bits is {bits}; pass 2 to 8")
