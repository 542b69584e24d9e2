"""Which values are counts, and what becomes of their units."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import spikesight as ss
from spikesight.graph import Graph, MaxPool, Neuron
from spikesight.graph.counts import Counts, counts_of
from spikesight.passes import unroll
from spikesight.passes.integerisation import NotDeployableError
from tests.conftest import wake


def _graph(name: str = "spikformer_nano", **options: object) -> Graph:
    return ss.trace(ss.create_model(name, num_classes=5, **options))


def test_maxima_keep_the_order_of_spikes_and_sums_add_their_levels() -> None:
    counts = counts_of(_graph(neuron="ni_lif", levels=4, depth=2))
    assert counts["trunk.0.pool"] == Counts(4, 0.25, ordered=True)
    sums = {name: value for name, value in counts.items() if "add" in name}
    assert [value.levels for value in sums.values()] == [8, 12, 16, 20, 24]
    assert not any(value.ordered for value in sums.values())


def test_neither_an_ann_nor_a_membrane_shortcut_has_counts() -> None:
    assert counts_of(_graph(neuron="relu")) == {}
    counts = counts_of(_graph("metaspikformer_nano"))
    assert not any("add" in name for name in counts)


def test_units_fold_through_sums_maxima_and_means() -> None:
    graph = ss.fold(_graph(neuron="ni_lif", levels=4))
    units = {n.dynamics.unit for n in graph.nodes if isinstance(n, Neuron) and n.dynamics}
    assert units == {1.0}


class _PoolOfSum(nn.Module):
    """A Spikformer whose relative position is pooled once more."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ss.create_model("spikformer_nano", num_classes=5, in_channels=2)
        self.pool = nn.MaxPool2d(3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        model = self.model
        x = model.presentation(x)
        for index, stage in enumerate(model.trunk):
            x = stage(x)
            if index == 3:
                x = self.pool(x)
        logits: torch.Tensor = model.readout(model.head(model.pool(x)))
        return logits


def test_the_maximum_of_a_sum_of_counts_has_no_spikes() -> None:
    model = _PoolOfSum()
    x = torch.rand(2, 2, 16, 16) * 3
    wake(model, x)
    with pytest.raises(ValueError, match=r"pool takes the maximum of sums of counts"):
        unroll(ss.trace(model))
    with pytest.raises(NotDeployableError, match="pool a neuron's spikes"):
        ss.deploy(model, x)


def test_the_maximum_of_counts_is_that_of_their_spikes() -> None:
    """Thermometer-coded sub-steps: max over n of [n >= d] is [max n >= d]."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 5, (3, 2, 9, 9), generator=generator).double()
    node = MaxPool("pool", (), 3, 2, 1)
    from spikesight.graph.execution import max_pool

    spikes = [(counts >= d).double() for d in range(1, 5)]
    pooled = torch.stack([max_pool(node, spike) for spike in spikes]).sum(0)
    assert torch.equal(pooled, max_pool(node, counts))
    assert not torch.equal(pooled, counts[..., ::2, ::2])
