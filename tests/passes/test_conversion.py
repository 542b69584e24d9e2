"""From a trained ReLU network to a spiking one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.errors import UserError
from spikesight.graph.tracing import image_part
from spikesight.neurons import CalibratedILIF
from spikesight.passes.threshold_search import CurrentHistogram, highest_level
from spikesight.passes.warm_start import settle_statistics
from tests.registered_models import NANO, tensors


def trained(name: str, neuron: str = "relu", **options: Any) -> tuple[ss.SpikingModel, Tensor]:
    """A model as it starts, in float64, and images."""
    torch.manual_seed(0)
    if name.startswith("mask_rcnn"):
        options = {"proposals": 8, **options}  # without training all of them are objects
    model = ss.create_model(name, num_classes=5, neuron=neuron, **options).double()
    return model.eval(), torch.randn(2, 3, 32, 32, dtype=torch.float64)


def neurons_of(model: torch.nn.Module) -> list[CalibratedILIF]:
    return [module for module in model.modules() if isinstance(module, CalibratedILIF)]


def distance(first: Any, second: Any) -> float:
    """Root mean square of the difference of outputs, relative to the first's."""
    pairs = list(zip(tensors(first), tensors(second), strict=True))
    different = sum(float((a - b).square().sum()) for a, b in pairs)
    return (different / sum(float(a.square().sum()) for a, _ in pairs)) ** 0.5


@pytest.mark.parametrize("name", NANO)
def test_a_twin_computes_the_same_up_to_quantisation(name: str) -> None:
    twin, x = trained(name)
    wanted = image_part(twin)(x)
    far, near = (
        distance(wanted, image_part(ss.spike_from(twin, x, levels, settle=False))(x))
        for levels in (15, 255)
    )
    assert near < min(0.03, far / 4)


@pytest.mark.parametrize("name", NANO)
def test_what_was_converted_equals_its_spikes(name: str) -> None:
    twin, x = trained(name)
    model = ss.spike_from(twin, x, 3)
    assert all(module.training is False for module in model.modules())
    assert ss.verify(model, x[:1]).mismatches == 0


@pytest.mark.parametrize("name", ["metaspikformer_nano", "spikformer_nano", "spike_fpn_nano"])
def test_what_was_converted_is_deployed_without_a_mismatch(name: str) -> None:
    twin, x = trained(name)
    x = x.float()
    net = ss.deploy(ss.spike_from(twin.float(), x, 4), x)
    assert net.verify(x[:2], against=("spikes", "native", "onnx")).mismatches == 0


def test_neurons_whose_spikes_are_added_up_share_a_threshold() -> None:
    twin, x = trained("spikformer_nano")
    model = ss.spike_from(twin, x, 4)
    thresholds = [neuron.threshold for neuron in neurons_of(model)]
    assert 1 < len(set(thresholds)) < len(thresholds)
    assert not any(neuron.scale.requires_grad for neuron in neurons_of(model))
    other, x = trained("metaspikformer_nano")
    assert all(n.scale.requires_grad for n in neurons_of(ss.spike_from(other, x)))


def test_many_levels_become_fewer_with_the_same_values() -> None:
    many, x = trained("metaspikformer_nano", "ni_lif", levels=200, depths=(0, 1, 1, 0, 0))
    settle_statistics(many, [x])
    wanted = many(x)
    far, near = (
        distance(wanted, ss.spike_from(many, x, levels, settle=False)(x)) for levels in (10, 100)
    )
    assert near < far / 3
    assert ss.verify(ss.spike_from(many, x, 10), x).mismatches == 0


def test_levels_become_time_steps() -> None:
    twin, x = trained("metaspikformer_nano", depths=(0, 1, 1, 0, 0))
    wanted = twin(x)
    few, many = (
        distance(wanted, ss.spike_from(twin, x, levels=1, steps=steps, settle=False)(x))
        for steps in (2, 32)
    )
    assert many < few / 2
    model = ss.spike_from(twin, x, levels=1, steps=2)
    assert (model.steps, neurons_of(model)[0].levels) == (2, 1)
    assert ss.verify(model, x).mismatches == 0
    counting = ss.spike_from(twin, x, levels=4)
    spread = ss.spike_from(counting, x, levels=1, steps=4)
    assert {n.dynamics.retain for n in neurons_of(spread)} == {1.0}


def test_frames_of_events_keep_their_time_steps() -> None:
    torch.manual_seed(0)
    twin = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=2, neuron="relu",
                           steps=4).eval()  # fmt: skip
    frames = torch.rand(2, 4, 2, 16, 16)
    model = ss.spike_from(twin, frames, 255, settle=False)
    assert distance(twin(frames), model(frames)) < 0.05
    with pytest.raises(UserError, match="4 time steps and 2 are asked for"):
        ss.spike_from(twin, frames, steps=2)


def test_what_cannot_be_converted_says_what_can() -> None:
    x = torch.rand(2, 3, 32, 32)
    lif = ss.create_model("metaspikformer_nano", num_classes=3, neuron="lif")
    with pytest.raises(UserError, match="train the ReLU twin"):
        ss.spike_from(lif, x)
    four = ss.create_model("metaspikformer_nano", num_classes=3, levels=4)
    with pytest.raises(UserError, match="pass fewer levels"):
        ss.spike_from(four, x, 8)
    with pytest.raises(UserError, match="convert the model that it was made from"):
        ss.spike_from(ss.quantize(four, 4), x, 2)
    twin = ss.create_model("metaspikformer_nano", num_classes=3, neuron="relu")
    with pytest.raises(UserError, match="no batch"):
        ss.spike_from(twin, [])
    with pytest.raises(UserError, match="thresholds"):
        ss.spike_from(twin, x, thresholds="max")  # type: ignore[arg-type]


def test_an_input_at_which_the_twin_explodes_is_left_out() -> None:
    twin, _ = trained("metaspikformer_nano")
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    beyond = x.clone()
    beyond[3] *= 1e6
    beyond[5] *= 1e200
    usual = x[[0, 1, 2, 4, 6, 7]]
    wanted = ss.spike_from(twin, [usual[:3], usual[3:]])
    model = ss.spike_from(twin, [beyond[:4], beyond[4:]])
    thresholds = [neuron.threshold for neuron in neurons_of(wanted)]
    assert [neuron.threshold for neuron in neurons_of(model)] == thresholds
    with pytest.raises(UserError, match="currents of the network are not finite"):
        ss.spike_from(twin, [x * 1e200])


def test_the_least_squared_error_is_found_in_a_histogram() -> None:
    torch.manual_seed(0)
    x = torch.randn(20_000)
    seen = CurrentHistogram()
    for part in x.split(1000):
        seen.add(part)
    positive = x.clamp(min=0)

    def error(top: float) -> float:
        step = top / 4
        return float(((positive / step).round().clamp(max=4) * step - positive).square().mean())

    found = highest_level(seen, 4, "mse", 99.9)
    assert found is not None
    assert error(found) <= min(error(found * 0.9), error(found * 1.1))
    assert seen.percentile(99) == pytest.approx(float(x.quantile(0.99)), abs=0.01)
    halves = [CurrentHistogram(), CurrentHistogram()]
    halves[0].add(x[:5000])
    halves[1].add(x[5000:])
    both = halves[0].merged(halves[1])
    assert both.total == seen.total
    assert both.percentile(99) == pytest.approx(seen.percentile(99), abs=0.02)


def test_a_neuron_that_is_always_silent_stays_so() -> None:
    twin, x = trained("metaspikformer_nano")
    norm = twin.get_submodule("trunk.1.1.separable.expand.norm")
    norm.bias.data.fill_(-1000)
    model = ss.spike_from(twin, x, settle=False)
    assert model.get_submodule("trunk.1.1.separable.neuron2").threshold == 1
    assert distance(twin(x), model(x)) < 0.2
