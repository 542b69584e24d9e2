"""Integer thresholds are those of exact fractions, and counts those of thresholds."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import torch
from hypothesis import example, given, strategies as st
from torch import Tensor

from spikesight.graph import integer_vocabulary as integer
from spikesight.neurons.dynamics import Dynamics
from spikesight.passes.fixed_point import on_common_grid
from spikesight.passes.thresholds import agrees, thresholds_of

Ties = Literal["up", "even"]
_SCALES = st.floats(2.0**-40, 2.0**10, allow_subnormal=False)
_OFFSETS = st.floats(-(2.0**20), 2.0**20)


def _dynamics(ties: Ties, offset: float, levels: int) -> Dynamics:
    return Dynamics(levels=levels, ties=ties, offset=offset)


def _by_fractions(scale: float, zero: float, dynamics: Dynamics, reach: float) -> list[int]:
    found = []
    for level in range(1, dynamics.levels + 1):
        position = (level - 1 + Fraction(dynamics.offset)) * Fraction(reach)
        position = (position - Fraction(zero)) / Fraction(scale)
        tie_fires = dynamics.ties == "up" or level % 2 == 0
        found.append(math.ceil(position) if tie_fires else math.floor(position) + 1)
    return found


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(
    rows=st.lists(st.tuples(_SCALES, _OFFSETS), min_size=1, max_size=4),
    reach=st.floats(2.0**-10, 2.0**10),
    rule=st.sampled_from([("even", 0.5), ("up", 0.5), ("up", 1.0)]),
    levels=st.sampled_from([1, 2, 3, 16]),
)
@example(rows=[(0.25, 0.125), (3 * 2.0**-9, -0.5)], reach=1.0, rule=("even", 0.5), levels=3)
@example(rows=[(0.1, 0.3)], reach=0.1, rule=("up", 1.0), levels=2)
def test_thresholds_are_those_of_fractions(
    rows: list[tuple[float, float]], reach: float, rule: tuple[Ties, float], levels: int
) -> None:
    dynamics = _dynamics(*rule, levels)
    expected = [_by_fractions(scale, zero, dynamics, reach) for scale, zero in rows]
    scales, zeros = (_column(*values) for values in zip(*rows, strict=True))
    assert thresholds_of(scales, zeros, dynamics, reach).tolist() == expected


@given(st.lists(st.integers(1, 2**50), min_size=1, max_size=4))
def test_a_distance_may_differ_from_channel_to_channel(steps: list[int]) -> None:
    dynamics = _dynamics("even", 0.5, 4)
    expected = [_by_fractions(1.0, 0.0, dynamics, step) for step in steps]
    found = thresholds_of(_column(1.0), _column(0.0), dynamics, _column(*steps))
    assert found.tolist() == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
@example([0.0])
@example([5e-324, 1.7976931348623157e308, -1.0])
def test_numbers_keep_their_ratios_on_the_common_grid(numbers: list[float]) -> None:
    (integers,) = on_common_grid(_column(*numbers))
    largest = max(range(len(numbers)), key=lambda index: abs(numbers[index]))
    for number, whole in zip(numbers, integers, strict=True):
        assert Fraction(number) * integers[largest] == whole * Fraction(numbers[largest])


@given(
    gain=st.integers(1, 64),
    bits=st.integers(0, 10),
    offset=st.integers(-64, 64),
    levels=st.sampled_from([1, 3, 8]),
    moved=st.integers(-1, 1),
)
def test_a_rounding_form_agrees_if_it_does_on_every_integer(
    gain: int, bits: int, offset: int, levels: int, moved: int
) -> None:
    dynamics = _dynamics("even", 0.5, levels)
    scale, zero = _column(gain * 2.0**-bits), _column(offset / 8)
    thresholds = thresholds_of(scale, zero, dynamics, 1.0)
    thresholds[:, levels // 2] += moved
    thresholds = thresholds.sort(dim=1).values
    neuron = _neuron(thresholds)
    form = integer.Rounding(scale.float(), zero.float())
    first, last = int(thresholds.min()) - 3, int(thresholds.max()) + 3
    currents = torch.arange(first, last)
    counted = (currents[:, None] >= thresholds).sum(1)
    rounded = (currents.float() * form.gain + form.offset).round().clamp(0, levels)
    assert agrees(neuron, form) == torch.equal(counted, rounded.long())


def _neuron(thresholds: Tensor) -> integer.Neuron:
    zero = torch.zeros(1, dtype=torch.int64)
    return integer.Neuron(
        "neuron",
        ("current",),
        steps=1,
        levels=thresholds.shape[1],
        thresholds=thresholds,
        step=zero,
        bias=zero,
        shift=0,
        leak=integer.Leak("none"),
        reset="soft",
        per_pixel=False,
    )
