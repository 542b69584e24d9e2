"""Units of measured thresholds go into the weights before these are quantised."""

from __future__ import annotations

import pytest
import torch

import spikesight as ss
from spikesight.neurons import CalibratedILIF
from spikesight.passes.whole_counts import emit_whole_counts
from tests.passes.test_conversion import distance, neurons_of, trained


@pytest.mark.parametrize("name", ["metaspikformer_nano", "spikformer_nano", "spike_fpn_nano"])
def test_the_model_computes_the_same_and_can_be_put_back(name: str) -> None:
    twin, x = trained(name)
    model = ss.spike_from(twin, x, 4, settle=False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wanted = model(x)
    put_back = emit_whole_counts(model)
    assert any(neuron.unit == 1 for neuron in neurons_of(model))
    assert distance(wanted, model(x)) < 1e-6
    put_back()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_was_converted_can_be_quantised_and_deployed() -> None:
    twin, x = trained("metaspikformer_nano")
    x = x.float()
    model = ss.quantize(ss.spike_from(twin.float(), x, 3), 4)
    assert not any(neuron.scale.requires_grad for neuron in neurons_of(model))
    net = ss.deploy(model, x)
    assert net.verify(x, against=("spikes", "onnx")).mismatches == 0


def test_a_learned_threshold_can_stop_learning() -> None:
    neuron = CalibratedILIF(threshold=0.3, learnable_threshold=True)
    state = neuron.state_dict()
    neuron.stop_learning()
    assert list(neuron.parameters()) == []
    assert neuron.state_dict().keys() == state.keys()
    assert neuron.threshold == pytest.approx(0.3)
