"""What a synapse's sum can reach is what some input makes it reach."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, strategies as st

from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import accumulator


def _synapse(weight: torch.Tensor, groups: int, padding: int) -> integer.Synapse:
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    return integer.Synapse("synapse", ("source",), weight, 8, 1, padding, groups, zeros, zeros)


@given(
    seed=st.integers(0, 2**16),
    groups=st.sampled_from([1, 2]),
    padding=st.sampled_from([0, 1]),
    far=st.sampled_from([3, 2**30]),
)
def test_bounds_are_those_of_the_extreme_inputs(
    seed: int, groups: int, padding: int, far: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-128, 128, (4, 2 // groups, 2, 2), generator=generator).to(torch.int8)
    ends = torch.randint(-far, far + 1, (2, 2), generator=generator).sort(0).values
    found = accumulator(_synapse(weight, groups, padding), _interval(ends[0], ends[1]))
    low, high = (
        ends.clamp(max=0)[0] if padding else ends[0],
        ends.clamp(min=0)[1] if padding else ends[1],
    )
    per_weight = weight.long().flatten(2)
    sums = []
    for choice in itertools.product((0, 1), repeat=8):
        chosen = torch.tensor(choice).view(2, 4)
        inputs = torch.where(chosen == 1, high[:, None], low[:, None])
        by_group = inputs.view(groups, -1, 4).repeat_interleave(4 // groups, 0)
        sums.append((per_weight * by_group).sum((1, 2)))
    reached = torch.stack(sums)
    assert torch.equal(found.low, reached.amin(0))
    assert torch.equal(found.high, reached.amax(0))
    size = (
        torch.maximum(low.abs(), high.abs()).view(groups, -1, 1).repeat_interleave(4 // groups, 0)
    )
    assert found.magnitude == int((per_weight.abs() * size).sum((1, 2)).max())


def _interval(low: torch.Tensor, high: torch.Tensor) -> integer.Interval:
    return integer.Interval(low, high, int(torch.maximum(low.abs(), high.abs()).max()))
