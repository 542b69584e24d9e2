from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import spikesight as ss
from spikesight.costs.fan_out import accumulations
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import Neuron, integer_vocabulary as integer
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


def test_low_bit_additions_have_their_share() -> None:
    """QSD-Transformer eq. 30: the first layer and the attention products keep their price."""
    model = ss.create_model("metaspikformer_nano", num_classes=10)
    x = torch.rand(4, 3, 28, 28) * 3
    wake(model, x)
    assert ss.energy(model, x).low_bit_picojoules is None
    for bits, share in ((4, 1 / 8), (3, 1 / 16), (2, 1 / 32)):
        report = ss.energy(ss.quantize(copy.deepcopy(model), bits), x)
        by_hand = 0.0
        for layer in report.layers:
            if layer.kind == "first layer":
                assert layer.weight_bits == 7  # of the weights that read the image
                by_hand += 4.6 * layer.multiplies
            elif layer.kind == "attention product":
                assert layer.weight_bits is None
                by_hand += 0.9 * layer.accumulates
            else:
                assert layer.weight_bits == (8 if layer.name == "head" else bits)
                by_hand += 0.9 * layer.accumulates * (1 if layer.name == "head" else share)
        assert report.low_bit_picojoules == pytest.approx(by_hand)
        assert by_hand < report.picojoules
        assert "eq. 30" in report.table()


def test_attention_costs_what_table_7_says() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=10)
    x = torch.rand(4, 3, 28, 28) * 3
    wake(model, x)
    report = ss.energy(model, x)
    layer = next(layer for layer in report.layers if layer.name == "trunk.3.1.attention.product")
    part = layer.attention
    assert part is not None
    assert (part.queries, part.keys, part.channels, part.heads) == (7 * 7, 7 * 7, 64, 4)
    rates = report.firing_rates
    counts = 4 * sum(rates[f"trunk.3.1.attention.{name}_neuron"] for name in ("query", "key"))
    assert part.accumulates == pytest.approx(counts * 49 * 64 * 64 / 4)
    assert part.picojoules == pytest.approx(layer.picojoules)
    assert part.softmax_picojoules == 4.6 * 2 * 49**2 * 64 + (3.7 + 2 * 4.6) * 4 * 49**2
    assert "trunk.4.1.attention.product" in report.attention_table()


@pytest.mark.parametrize("steps", [1, 2])
def test_a_deployed_network_costs_what_its_integers_do(steps: int, tmp_path: Path) -> None:
    model = ss.create_model(
        "metaspikformer_nano", num_classes=10, steps=steps, rep_conv="spike_driven"
    )
    x = torch.rand(4, 3, 28, 28) * 3
    wake(model, x)
    ss.quantize(model, 4)
    net = ss.deploy(model, x)
    report = ss.energy(net, [(x[:2], None), (x[2:], None)])
    assert report.samples == 4
    audited = ss.audit(net, x).total
    assert sum(layer.accumulates for layer in report.layers) == pytest.approx(audited.accumulates)
    assert sum(layer.multiplies for layer in report.layers) == pytest.approx(audited.multiplies)
    trained = ss.energy(model, x)
    assert [layer.name for layer in report.layers] == [layer.name for layer in trained.layers]
    assert [layer.kind for layer in report.layers] == [layer.kind for layer in trained.layers]
    for ours, theirs in zip(report.layers, trained.layers, strict=True):
        assert ours.macs == pytest.approx(theirs.macs)
        # Trained weights may need fewer bits than they were allowed; the integers hold what is
        # needed.
        assert (ours.weight_bits is None) == (theirs.weight_bits is None)
    # Integers round the image, the weights at the boundary and, over T > 1, the membranes.
    assert report.picojoules == pytest.approx(trained.picojoules, rel=0.05)
    assert report.low_bit_picojoules == pytest.approx(trained.low_bit_picojoules, rel=0.05)
    net.save(tmp_path / "net.spk")
    again = ss.energy(ss.Deployed.load(tmp_path / "net.spk"), x)
    assert again.picojoules == pytest.approx(report.picojoules)
    report.to_html(tmp_path / "energy.html")
    with pytest.raises(ValueError, match="no input"):
        ss.energy(net, [])


@pytest.mark.parametrize("options", [{"neuron": "lif", "steps": 2}, {"levels": 4}], ids=str)
@pytest.mark.parametrize("name", ["spikformer_nano", "spikformer_v2_nano"])
def test_sums_and_maxima_of_counts_have_rates_when_deployed(
    name: str, options: dict[str, object]
) -> None:
    model = ss.create_model(name, num_classes=5, in_channels=2, **options)
    x = torch.randn(4, 2, 32, 32) * 2
    wake(model, x)
    net = ss.deploy(model, x)
    counted = (integer.Add, integer.MaxPool)
    reading = {
        node.name
        for node in net.graph.nodes
        if isinstance(node, integer.Synapse)
        and isinstance(net.graph.by_name[node.inputs[0]], counted)
    }
    assert len(reading) >= 6
    trained = {layer.name: layer for layer in ss.energy(model, x).layers}
    for layer in ss.energy(net, x).layers[1:]:
        other = trained[layer.name]
        assert layer.firing_rate == pytest.approx(other.firing_rate, rel=0.25), layer.name
        assert layer.mean_count == pytest.approx(other.mean_count, rel=0.25), layer.name
        if layer.name in reading:
            assert layer.mean_count is not None
            # The classifier of a mean over pixels comes before the sum.
            dense = layer.macs / other.macs
            assert dense == (64 if layer.name == "head" else 1)
            expected = other.paper_accumulates * dense
            assert layer.paper_accumulates == pytest.approx(expected, rel=0.25), layer.name
            assert layer.paper_accumulates >= layer.accumulates > 0


def test_a_loader_is_run_once_and_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5)
    net = ss.deploy(model, torch.rand(2, 3, 16, 16))
    runs = 0
    run = IntegerExecutor.run

    def counted_run(self: IntegerExecutor, *arguments: Any) -> tuple[torch.Tensor, ...]:
        nonlocal runs
        runs += 1
        return run(self, *arguments)

    monkeypatch.setattr(IntegerExecutor, "run", counted_run)
    alive: list[weakref.ref[torch.Tensor]] = []

    def loader() -> Iterator[torch.Tensor]:
        for _ in range(4):
            assert sum(batch() is not None for batch in alive) <= 1
            batch = torch.rand(2, 3, 16, 16)
            alive.append(weakref.ref(batch))
            yield batch
            del batch

    assert ss.energy(net, loader()).samples == 8
    assert runs == 4


def test_one_step_of_four_levels_runs_as_four_binary_steps() -> None:
    """QSD-Transformer trains at T = 1, D = 4 and runs at T = 4 (appendix G)."""
    model = ss.create_model("metaspikformer_nano", num_classes=5, neuron="ie_lif", levels=4)
    x = torch.rand(2, 3, 32, 32) * 3
    wake(model, x)
    model.double()
    sub_steps: dict[str, int] = {}

    def observe(neuron: Neuron, _: int, spikes: list[torch.Tensor]) -> None:
        sub_steps[neuron.name] = len(spikes)
        assert all(((s == 0) | (s == 1)).all() for s in spikes)

    output = ss.unroll(ss.trace(model))(x.double(), observe)
    assert set(sub_steps.values()) == {4}
    torch.testing.assert_close(output, model(x.double()), rtol=1e-9, atol=1e-9)
