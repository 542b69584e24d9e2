"""Packs signed integers of a few bits into bytes without gaps.

The bits form one stream: value i takes the bits [i * bits, (i + 1) * bits), lowest first, in two's
complement; bit j of the stream is bit j % 8 (1, 2, 4, ...) of byte j // 8. Eight values therefore
take `bits` whole bytes, which are the lowest ones of a word that holds the eight side by side.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spikesight.errors import UserError

_BITS = range(2, 9)
_WORD = np.dtype("<u8")


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
    octets = np.zeros((math.ceil(flat.numel() / 8), 8), np.uint8)
    octets.reshape(-1)[: flat.numel()] = flat.to(torch.int8).numpy().view(np.uint8)
    octets &= 2**bits - 1
    words = np.zeros(len(octets), _WORD)
    for index in range(8):
        words |= octets[:, index].astype(_WORD) << np.uint64(index * bits)
    stream = words.view(np.uint8).reshape(-1, 8)[:, :bits].flatten()
    return torch.from_numpy(stream[: packed_length(flat.numel(), bits)])


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
    groups = math.ceil(count / 8)
    stream = np.zeros((groups, bits), np.uint8)
    stream.reshape(-1)[:expected] = packed.cpu().numpy()
    padded = np.zeros((groups, 8), np.uint8)
    padded[:, :bits] = stream
    words = padded.view(_WORD)[:, 0]
    octets = np.empty((groups, 8), np.uint8)
    # The sign bit moves to the top of the byte and is spread again by the arithmetic shift.
    for index in range(8):
        octets[:, index] = words >> np.uint64(index * bits)
    signed = (octets << (8 - bits)).view(np.int8) >> (8 - bits)
    return torch.from_numpy(signed.reshape(-1)[:count])


def _check(bits: int) -> None:
    if bits not in _BITS:
        raise UserError(f"bits is {bits}; pass 2 to 8")
