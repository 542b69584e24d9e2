"""What layers do: from counts, from binary spikes one by one, and from deployed integers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.costs.cost_models import elementwise_operations
from spikesight.costs.forms import COUNTS, DENSE, SPIKES
from spikesight.costs.networks import other_steps
from spikesight.costs.work import ACTIVITY, Work, WorkMeter
from spikesight.errors import UserError
from spikesight.graph import Add, Synapse, execute
from spikesight.passes.folding import fold
from tests.conftest import wake
from tests.costs.test_readers import Small
from tests.registered_models import NANO

# Interpolation adds without spikes, and where two counts meet, those of both decide.
OTHERS = ("upsampling", "bilinear sampling", "attention weights", "mask product", "gate")


def awake(name: str, **options: Any) -> tuple[ss.SpikingModel, Tensor]:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=3, **options).double()
    x = 3 * torch.rand(2, 3, 32, 32, dtype=torch.float64)
    wake(model, x)
    return model.eval(), x


def by_name(works: tuple[Work, ...]) -> dict[str, Work]:
    return {work.name: work for work in works}


@pytest.mark.parametrize("name", NANO)
def test_additions_are_those_of_the_energy_report(name: str) -> None:
    model, x = awake(name)
    report = ss.energy(model, x)
    works = by_name(report.works)
    for layer in report.layers:
        if layer.kind in OTHERS:
            continue
        work = works[layer.name]
        assert float(work.spike_additions.mean()) == pytest.approx(layer.accumulates)
        assert work.macs == pytest.approx(layer.macs)
        if layer.kind in ("synapse", "first layer", "real-valued synapse"):
            assert work.kind == layer.kind
            assert layer.firing_rate is None or work.firing_rate == pytest.approx(layer.firing_rate)


@pytest.mark.parametrize("name", ["metaspikformer_nano", "spike_fpn_nano", "spikformer_v2_nano"])
def test_integers_do_what_their_audit_says_however_often_they_are_measured(name: str) -> None:
    model, x = awake(name, levels=4)
    net = ss.deploy(model, x)
    works = ss.energy(net, x).works
    audited = {layer.name: layer.operations.accumulates for layer in ss.audit(net, x).layers}
    for one, other in zip(works, ss.energy(ss.deploy(model, x), x).works, strict=True):
        assert one.name == other.name
        for field in ACTIVITY:
            assert torch.equal(getattr(one, field), getattr(other, field))
        if one.kind in ("synapse", "attention product") and audited[one.name]:
            assert float(one.spike_additions.mean()) == pytest.approx(audited[one.name])


@pytest.mark.parametrize("steps", [1, 2])
def test_binary_spikes_one_by_one_ask_for_the_same(steps: int) -> None:
    """Additions and fetches of weights, counted again in every sub-step of every time step."""
    model, x = awake("metaspikformer_nano", steps=steps, levels=3)
    graph = fold(ss.trace(model))
    meter = WorkMeter(graph)
    values: dict[str, Tensor] = {}

    def observe(node: Any, _: tuple[Tensor, ...], output: Tensor) -> None:
        meter.observe(node, output)
        values[node.name] = output

    execute(graph, x, observe)
    works = by_name(meter.report(len(x)))
    neurons = {neuron.name: neuron.dynamics for neuron in graph.neurons}
    checked = 0
    for node in graph.nodes:
        if not isinstance(node, Synapse) or node.inputs[0] not in neurons:
            continue
        factor, dynamics = node.factors[0], neurons[node.inputs[0]]
        if factor.is_linear or dynamics is None:
            continue
        counts = (values[node.inputs[0]] / dynamics.unit).round()
        spikes = torch.stack([(counts >= level + 1).double() for level in range(3)])
        ones = torch.ones_like(factor.weight)
        added = sum(
            torch.conv2d(sub_step, ones, None, factor.stride, factor.padding, 1, factor.groups)
            for sub_step in spikes
        )
        work = works[node.name]
        assert float(work.spike_additions.sum()) == float(torch.as_tensor(added).sum())
        assert float(work.spikes.sum()) == float(spikes.sum())
        assert float(work.spike_fetches.sum()) == float((spikes.amax((-2, -1)) > 0).sum())
        assert float(work.event_fetches.sum()) == float((counts.amax((-2, -1)) > 0).sum())
        at_counts = torch.conv2d(
            (counts > 0).double(), ones, None, factor.stride, factor.padding, 1, factor.groups
        )
        assert float(work.event_additions.sum()) == float(at_counts.sum())
        checked += 1
    assert checked > 10


def test_neurons_shortcuts_and_sums_are_there() -> None:
    torch.manual_seed(0)
    model = Small().double().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    wake(model, x)
    model.eval()
    works = by_name(ss.energy(model, x).works)
    assert {work.kind for work in works.values()} == {
        "first layer", "synapse", "neuron", "sum", "attention product", "gate"
    }  # fmt: skip
    assert works["stem"].macs == 8 * 8 * 8 * 27
    assert works["first"].outputs == works["first"].inputs == 8 * 8 * 8
    assert all(work.steps == 2 for work in works.values())
    graph = fold(ss.trace(model))
    assert not any(isinstance(node, Add) and node.name in works for node in graph.nodes)


def test_samples_are_kept_apart() -> None:
    model, x = awake("metaspikformer_nano")
    both, *alone = (ss.energy(model, part).works for part in (x, x[:1], x[1:]))
    for work, first, second in zip(both, *alone, strict=True):
        for field in ACTIVITY:
            parts = torch.cat([getattr(first, field), getattr(second, field)])
            assert torch.equal(getattr(work, field), parts)


@pytest.mark.parametrize("deployed", [False, True])
def test_the_same_spikes_in_other_time_steps(deployed: bool) -> None:
    """Spread over T D steps every count is 0 or 1, and counts cost what spikes do."""
    model, x = awake("metaspikformer_nano", levels=4)
    network = ss.deploy(model, x) if deployed else model
    assert other_steps(network) == [4]
    report = ss.energy(network, x, steps=[2, 4])
    for own, spread in zip(report.works, report.what_if[4], strict=True):
        assert (own.steps, spread.steps) == (1, 4)
        assert torch.equal(own.spikes, spread.spikes)
        assert torch.equal(spread.spikes, spread.events)
        assert torch.equal(own.spike_fetches, spread.event_fetches)
        assert torch.equal(own.spike_additions, spread.event_additions)
        if own.kind == "neuron":
            assert spread.levels == 1
            assert own.firing_rate == pytest.approx(spread.firing_rate)
    halves = report.what_if[2]
    assert any(float((work.spikes - work.events).sum()) > 0 for work in halves)
    assert report.under("memory", 4).picojoules("spikes") > 0
    with pytest.raises(UserError, match="does not know of 3 time steps"):
        report.under("memory", 3)


def test_time_steps_can_become_levels() -> None:
    model, x = awake("metaspikformer_nano", levels=2, steps=3)
    report = ss.energy(model, x, steps=[1])
    for own, joined in zip(report.works, report.what_if[1], strict=True):
        assert torch.equal(own.spikes, joined.spikes)
        assert float(joined.events.sum()) <= float(own.events.sum())
        if own.kind == "neuron":
            assert joined.levels == 6


def test_a_sum_of_spikes_costs_what_it_adds() -> None:
    model, x = awake("sdtv1_nano", steps=2)
    work = by_name(ss.energy(model, x).works)["trunk.4.attention.sum"]
    assert 0 < float(work.events.mean()) < float(work.spikes.mean())
    assert torch.equal(torch.as_tensor(elementwise_operations(work, SPIKES)), work.spikes)
    assert torch.equal(torch.as_tensor(elementwise_operations(work, COUNTS)), work.events)
    assert elementwise_operations(work, DENSE) == 2 * 64 * 8 * 8
