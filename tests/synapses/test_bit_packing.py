"""Integers of a few bits survive a stream without gaps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from spikesight.synapses.bit_packing import pack, packed_length, unpack

BITS = st.integers(2, 8)


@given(bits=BITS, data=st.data())
def test_values_come_back(bits: int, data: st.DataObject) -> None:
    half = 2 ** (bits - 1)
    values = torch.tensor(
        data.draw(st.lists(st.integers(-half, half - 1), max_size=50)), dtype=torch.int8
    )
    packed = pack(values, bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_length(len(values), bits)
    back = unpack(packed, bits, len(values))
    assert back.dtype == torch.int8
    assert torch.equal(back, values)


@given(bits=BITS, data=st.data())
def test_every_stream_is_its_own_repacking(bits: int, data: st.DataObject) -> None:
    octets = data.draw(st.lists(st.integers(0, 255), min_size=bits, max_size=bits))
    packed = torch.tensor(octets, dtype=torch.uint8)
    assert torch.equal(pack(unpack(packed, bits, 8), bits), packed)


def test_eight_weights_of_three_bits_take_three_bytes() -> None:
    values = torch.tensor([0, 1, 2, 3, -4, -3, -2, -1])
    # Two's complement, lowest bit first: 000 100 010 110 001 101 011 111.
    stream = "000100010110001101011111"
    octets = [int(stream[i : i + 8][::-1], 2) for i in (0, 8, 16)]
    assert pack(values, 3).tolist() == octets


def test_shapes_flatten_in_order() -> None:
    values = torch.randint(-2, 2, (3, 4, 5, 5), dtype=torch.int8)
    assert torch.equal(unpack(pack(values, 2), 2, values.numel()).view(values.shape), values)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_a_value_too_large_is_refused(bits: int) -> None:
    half = 2 ** (bits - 1)
    for value in (half, -half - 1):
        with pytest.raises(ValueError, match=f"pass values from {-half} to {half - 1}"):
            pack(torch.tensor([0, value]), bits)


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 64])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="pass 2 to 8"):
        pack(torch.zeros(8, dtype=torch.int8), bits)
    with pytest.raises(ValueError, match="pass 2 to 8"):
        unpack(torch.zeros(8, dtype=torch.uint8), bits, 8)


def test_a_stream_of_another_length_or_dtype_is_refused() -> None:
    for packed in (torch.zeros(2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int8)):
        with pytest.raises(ValueError, match="8 values of 3 bits take 3 bytes"):
            unpack(packed, 3, 8)
