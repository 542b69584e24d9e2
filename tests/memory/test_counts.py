"""Counts in few bits come back bit for bit, and what are no counts is left alone."""

import pytest
import torch
from hypothesis import given, strategies as st

from spikesight.memory.counts import pack, unpack

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@given(
    length=st.integers(0, 100_000),
    most=st.integers(0, 255),
    unit=st.sampled_from([1.0, 0.25, 1 / 3, 0.1]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32),
)
def test_counts_come_back(
    length: int, most: int, unit: float, dtype: torch.dtype, seed: int
) -> None:
    counts = torch.randint(most + 1, (length,), generator=torch.Generator().manual_seed(seed))
    exact = counts.to(dtype if dtype == torch.float64 else torch.float32)
    values = (exact * unit).to(dtype)
    packed = pack(values, unit)
    assert packed is not None
    assert packed.data.dtype == torch.uint8
    largest = int(counts.max()) if length else 0
    needed = next(bits for bits in (1, 2, 4, 8) if largest < 2**bits)
    assert packed.data.numel() == -(-length * needed // 8)
    back = unpack(packed)
    assert back.dtype == dtype
    assert torch.equal(back, values)
    assert not back.signbit().any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "value", [0.5, -1.0, 256.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-7]
)
@pytest.mark.parametrize("place", [0, 300, 99_999])
def test_one_value_that_is_no_count_is_found(dtype: torch.dtype, value: float, place: int) -> None:
    values = torch.ones(100_000, dtype=dtype)
    values[place] = value
    assert pack(values, 1.0) is None
