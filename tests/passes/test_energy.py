from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import spikesight as ss
from spikesight.passes.fan_out import accumulations
from tests.conftest import wake


@pytest.mark.parametrize(
    ("stride", "padding", "groups", "kernel"),
    [(1, 1, 1, 3), (2, 1, 1, 3), (1, 2, 4, 5), (2, 3, 1, 7), (1, 0, 1, 1)],
)
def test_accumulates_are_the_connections_that_a_spike_really_has(
    stride: int, padding: int, groups: int, kernel: int
) -> None:
    counts = torch.randint(0, 4, (2, 4, 7, 9)).double()
    ones = torch.ones(8, 4 // groups, kernel, kernel).double()
    every_connection = F.conv2d(counts, ones, None, stride, padding, 1, groups)
    counted = accumulations(counts, ones, stride, padding, groups)
    assert counted == float(every_connection.sum())


def test_counts_of_a_model() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=10, in_channels=1, neuron="ni_lif")
    x = torch.rand(6, 1, 28, 28) * 3
    wake(model, x)
    report = ss.energy(model, x)
    halves = ss.energy(model, [(x[:2], None), (x[2:], None)])
    assert report.picojoules == pytest.approx(halves.picojoules)
    assert report.samples == halves.samples == 6
    first = report.layers[0]
    assert first.kind == "first layer"
    assert first.multiplies == first.macs == 14 * 14 * 32 * 9
    assert first.accumulates == 0
    for layer in report.layers[1:]:
        assert layer.kind in ("synapse", "attention product")
        assert layer.multiplies == 0
        assert 0 < layer.accumulates <= 1.001 * layer.paper_accumulates or "product" in layer.kind
    assert 0 < report.picojoules < report.twin_picojoules
    assert 0 < report.picojoules <= report.paper_picojoules * 1.001
    assert set(report.firing_rates) == {n.name for n in ss.trace(model).neurons}


def test_the_mean_count_already_contains_the_levels() -> None:
    """A layer's accumulates are at most D times its dense operations, never D squared."""
    model = ss.create_model("metaspikformer_nano", num_classes=10, neuron="i_lif", levels=8)
    report = ss.energy(model, torch.rand(2, 3, 28, 28) * 50)
    for layer in report.layers[1:]:
        if layer.kind == "synapse":
            assert layer.accumulates <= 8 * layer.macs


def test_a_static_image_pays_its_first_layer_at_every_time_step() -> None:
    x = torch.rand(2, 3, 28, 28)
    once, four = (
        ss.energy(ss.create_model("metaspikformer_nano", neuron="lif", steps=steps), x).layers[0]
        for steps in (1, 4)
    )
    assert four.macs == once.macs
    assert four.multiplies == 4 * once.multiplies


def test_an_ann_multiplies_everywhere() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=10, neuron="relu")
    report = ss.energy(model, torch.rand(2, 3, 28, 28))
    assert report.picojoules == pytest.approx(report.twin_picojoules)
    assert report.firing_rates == {}
    spiking = ss.energy(
        ss.create_model("metaspikformer_nano", num_classes=10), torch.rand(2, 3, 28, 28)
    )
    assert spiking.twin_picojoules == pytest.approx(report.picojoules)


@pytest.mark.parametrize(
    ("name", "unfolded", "folded"),
    [
        ("metaspikformer_15m", 6.44, 10.01),
        pytest.param("metaspikformer_31m", 13.95, 21.31, marks=pytest.mark.nightly),
        pytest.param("metaspikformer_55m", 24.70, 37.80, marks=pytest.mark.nightly),
    ],
)
def test_macs_of_the_full_sizes(name: str, unfolded: float, folded: float) -> None:
    model = ss.create_model(name, neuron="lif")
    report = ss.energy(model, torch.rand(1, 3, 224, 224))
    synapses = [layer for layer in report.layers if "product" not in layer.kind]
    assert sum(layer.twin_macs for layer in synapses) / 1e9 == pytest.approx(unfolded, abs=0.006)
    assert sum(layer.macs for layer in synapses) / 1e9 == pytest.approx(folded, abs=0.006)


def test_tables(tmp_path: Path) -> None:
    report = ss.energy(ss.create_model("metaspikformer_nano"), torch.rand(2, 3, 28, 28))
    assert all(layer.name in report.table() for layer in report.layers)
    report.to_html(tmp_path / "energy.html")
    assert "trunk.0.0.conv" in (tmp_path / "energy.html").read_text()


def test_no_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="no input"):
        ss.energy(ss.create_model("metaspikformer_nano"), [])
