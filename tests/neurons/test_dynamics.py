from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from spikesight.neurons import Dynamics, binary_spikes, charge, count, integrate, reset

from . import reference

TIES = [-1.0, 0.0, 0.49999999999999994, 0.5, 0.75, 1.0, 1.4999999999999998, 1.5, 2.5, 3.5, 9.0]


def test_counts_by_hand():
    potential = torch.tensor(TIES, dtype=torch.float64)
    even = count(potential, Dynamics(levels=3, ties="even")).tolist()
    up = count(potential, Dynamics(levels=3, ties="up")).tolist()
    binary = count(potential, Dynamics(levels=1, offset=1.0, ties="up")).tolist()
    assert even == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert up == [0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3]
    assert binary == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]


def test_lif_over_time_by_hand():
    # tau 2: U = V + (X - V) / 2; fires at 1; hard reset.
    dynamics = Dynamics(steps=4, offset=1.0, decay_input=True, reset="hard", ties="up")
    current = torch.tensor([[1.0], [2.0], [2.0], [-1.0]])
    counts, membrane = integrate(current, dynamics)
    assert counts.flatten().tolist() == [0, 1, 1, 0]  # U = 0.5, 1.25, 1.0, -0.5
    assert membrane.tolist() == [-0.5]


def test_integer_neuron_over_time_by_hand():
    # U = V / 2 + X, n = round(clip(U, 0, 4)), V = U - n.
    dynamics = Dynamics(steps=3, levels=4, retain=0.5)
    counts, membrane = integrate(torch.tensor([[2.75], [1.0], [9.0]]), dynamics)
    assert counts.flatten().tolist() == [3, 1, 4]  # U = 2.75, 0.875, 8.9375
    assert membrane.tolist() == [4.9375]


def test_charge_and_reset_by_hand():
    current, membrane = torch.tensor([2.0]), torch.tensor([1.0])
    assert charge(current, membrane, Dynamics(retain=0.25)).item() == 2.25
    assert charge(current, membrane, Dynamics(retain=0.25, decay_input=True)).item() == 1.75
    soft = Dynamics(levels=4, threshold=0.5)
    assert reset(torch.tensor([1.75]), torch.tensor([3.0]), soft).item() == 0.25
    assert reset(torch.tensor([1.75]), torch.tensor([1.0]), Dynamics(reset="hard")).item() == 0


def test_membrane_passed_on_continues_the_run():
    dynamics = Dynamics(levels=4)
    current = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)) * 3
    counts, membrane = integrate(current, dynamics)
    first, middle = integrate(current[:2], dynamics)
    second, last = integrate(current[2:], dynamics, middle)
    assert torch.equal(torch.cat([first, second]), counts)
    assert torch.equal(last, membrane)


@st.composite
def any_dynamics(draw):
    ties = draw(st.sampled_from(["up", "even"]))
    return Dynamics(
        levels=draw(st.integers(1, 12)),
        threshold=draw(st.sampled_from([1.0, 0.25, 0.3, 1.7])),
        offset=draw(st.sampled_from([0.5, 1.0])) if ties == "up" else 0.5,
        ties=ties,
    )


@settings(deadline=None, max_examples=80)
@given(
    any_dynamics(),
    st.sampled_from([torch.float64, torch.float32]),
    st.lists(st.floats(-3, 14, width=32), min_size=1, max_size=20),
)
def test_binary_spikes_add_up_to_the_count(dynamics, dtype, values):
    grid = (torch.arange(-4, 60, dtype=dtype) / 4) * dynamics.threshold
    near = torch.cat([grid, grid.nextafter(grid + 1), grid.nextafter(grid - 1)])
    potential = torch.cat([near, torch.tensor(values, dtype=dtype)])
    spikes = binary_spikes(potential, dynamics)
    assert len(spikes) == dynamics.levels
    assert all(set(s.unique().tolist()) <= {0.0, 1.0} for s in spikes)
    assert torch.equal(sum(spikes), count(potential, dynamics))
    literal = reference.virtual_steps(
        potential, dynamics.threshold, dynamics.levels, dynamics.ties, dynamics.offset
    )
    assert all(torch.equal(a, b) for a, b in zip(spikes, literal, strict=True))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"steps": 0}, "steps"),
        ({"levels": 0}, "levels"),
        ({"levels": 256}, "levels"),
        ({"threshold": 0.0}, "threshold"),
        ({"unit": float("nan")}, "unit"),
        ({"offset": 0.3}, "offset"),
        ({"retain": 1.5}, "retain"),
        ({"reset": "medium"}, "reset"),
        ({"ties": "down"}, "ties"),
        ({"offset": 1.0, "ties": "even"}, "offset 0.5"),
        ({"levels": 4, "reset": "hard"}, "levels 1"),
    ],
)
def test_bad_fields_are_named(fields, names):
    with pytest.raises(ValueError, match=names):
        Dynamics(**fields)
