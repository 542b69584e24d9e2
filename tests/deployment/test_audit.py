from __future__ import annotations

import pytest
import torch

import spikesight as ss
from spikesight.costs.audit import Audit, Operations
from spikesight.costs.audit_page import audit_page
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import integer_vocabulary as integer
from tests.conftest import wake
from tests.reports.reading import assert_self_contained


def _audited(x: torch.Tensor, **options: object) -> tuple[ss.Deployed, Audit, ss.SpikingModel]:
    model = ss.create_model("metaspikformer_nano", num_classes=5, in_channels=2, **options)
    wake(model, x)
    net = ss.deploy(model, x)
    return net, ss.audit(net, x), model


def test_spike_driven_means_that_nothing_multiplies_beyond_the_first_layer() -> None:
    x = torch.randn(3, 2, 16, 16) * 2
    _, report, _ = _audited(x)
    assert report.spike_driven
    assert report.offenders == []
    first, *rest = (layer for layer in report.layers if layer.operations.multiplies)
    assert first.kind == "first layer"
    assert first.operations.multiplies == 8 * 8 * 32 * 2 * 9
    assert rest == []
    assert "Spike-driven: yes" in report.table()
    assert all(layer.name in report.table() for layer in report.layers)
    page = assert_self_contained(audit_page(report))
    assert all(layer.name in page.text for layer in report.layers)
    assert "nothing multiplies beyond the first layer" in page.text


def test_an_official_separable_convolution_is_named() -> None:
    x = torch.randn(3, 2, 16, 16) * 2
    _, report, _ = _audited(x, separable="official")
    assert not report.spike_driven
    assert all(name.endswith("separable.project.0") for name in report.offenders)
    assert f"Spike-driven: no: {', '.join(report.offenders)} multiply" in report.table()
    assert f"{len(report.offenders)} layers beyond the first multiply" in audit_page(report)


@pytest.mark.parametrize("name", ["spikformer_nano", "spikformer_v2_nano"])
def test_spike_shortcuts_of_spikformer_are_named_and_cost_nothing(name: str) -> None:
    x = torch.randn(2, 2, 16, 16) * 2
    model = ss.create_model(name, num_classes=5, in_channels=2, neuron="lif", steps=2)
    net = ss.deploy(wake(model, x), x)
    report = ss.audit(net, x)
    assert report.spike_driven
    kinds = {layer.kind: layer.operations for layer in report.layers}
    assert kinds["spike shortcut"] == Operations()
    counted = {layer.name: layer for layer in report.layers}
    values: dict[str, torch.Tensor] = {}
    IntegerExecutor(net.graph)(x, lambda node, output: values.update({node.name: output}))
    head = net.graph.by_name["head"]
    # Every spike at every pixel adds its five weights to the logits.
    spikes = float(values[head.inputs[0]].sum()) / len(x)
    assert counted["head"].kind == "synapse"
    assert counted["head"].operations.accumulates == 5 * spikes
    measured = {layer.name: layer.accumulates for layer in ss.energy(model, x).layers}
    assert measured["head"] == pytest.approx(5 * spikes, rel=0.3)
    if name == "spikformer_nano":
        # A window of nine spikes takes eight comparisons.
        assert kinds["maximum"].comparisons == 2 * 64 * 4 * 4 * 8


def test_accumulates_are_the_spikes_of_the_network_times_their_fan_out() -> None:
    """The same counts as the energy report of the floating-point network, where spikes agree."""
    x = torch.randn(3, 2, 16, 16) * 2
    net, report, model = _audited(x, neuron="lif", steps=2)
    counted = {layer.name: layer for layer in report.layers}
    for layer in ss.energy(model, x).layers[1:]:
        audited = counted[layer.name].operations.accumulates
        assert audited == pytest.approx(layer.accumulates, rel=0.25), layer.name
    neurons = [node for node in net.graph.nodes if isinstance(node, integer.Neuron)]
    assert all(counted[node.name].operations.comparisons > 0 for node in neurons)


def test_comparisons_of_a_neuron_are_one_per_level() -> None:
    x = torch.randn(2, 2, 16, 16) * 2
    _, report, _ = _audited(x, levels=4)
    first = next(layer for layer in report.layers if layer.kind == "neuron")
    assert first.operations == Operations(comparisons=4 * 32 * 8 * 8)


def test_batches_average() -> None:
    x = torch.randn(4, 2, 16, 16) * 2
    net, whole, _ = _audited(x)
    halves = ss.audit(net, [(x[:2], None), (x[2:], None)])
    assert halves.samples == whole.samples == 4
    assert halves.total.accumulates == pytest.approx(whole.total.accumulates)
    assert halves.total.integer_picojoules == pytest.approx(whole.total.integer_picojoules)


def test_no_input_is_an_error() -> None:
    net, _, _ = _audited(torch.randn(2, 2, 16, 16))
    with pytest.raises(ValueError, match="no input"):
        ss.audit(net, [])
