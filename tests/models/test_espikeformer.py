"""E-SpikeFormer: exact in every form, spike-driven, and what its options refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import spikesight as ss
from spikesight.costs.audit import audit
from tests.conftest import firing_rates
from tests.deployment.native_forms import NATIVE

EXPORTED = [(1, 4), (2, 8), (4, 1)]


def awake(steps: int, levels: int, **options: Any) -> tuple[nn.Module, torch.Tensor]:
    """A small network with warm statistics, all of whose neurons fire, and images."""
    torch.manual_seed(0)
    model = ss.create_model(
        "espikeformer_nano",
        num_classes=5,
        neuron="i_lif",
        steps=steps,
        levels=levels,
        widths=(8, 8, 16, 16, 16),
        **options,
    )
    images = 2 * torch.randn(4, 3, 24, 32)
    for _ in range(20):
        model.train()(images)
    rates = firing_rates(model.eval(), images)
    assert all(rates.values()), rates
    return model, images


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_every_form_counts_the_same(steps: int, levels: int) -> None:
    model, images = awake(steps, levels)
    deployed = ss.deploy(model, images)
    exports = ("onnx", "openvino") if (steps, levels) in EXPORTED else ()
    compared = deployed.verify(images, against=("spikes", *exports))
    assert compared.equal, compared.table()
    assert ss.verify(model, images).mismatches == 0
    rates = ss.energy(deployed, images).firing_rates
    assert all(rates.values()), rates


def test_every_synapse_reads_spikes() -> None:
    model, images = awake(1, 4)
    assert audit(ss.deploy(model, images), images).spike_driven


def test_few_bits_stay_exact() -> None:
    model, images = awake(1, 4)
    quantized = ss.quantize(model, bits=4).train()
    quantized(images)
    deployed = ss.deploy(quantized.eval(), images)
    assert deployed.verify(images, against=("spikes", "onnx")).equal


def test_heads_of_both_give_a_pair_in_training_and_their_mean_after_it() -> None:
    model, images = awake(1, 4, head="both")
    pair = model.train()(images)
    assert [logits.shape for logits in pair] == [(4, 5), (4, 5)]
    model.eval()
    assert model(images).shape == (4, 5)
    maps = model.forward_features(images)
    assert torch.equal(model.forward_head(maps), model(images))
    model.reset_classifier(3)
    assert model(images).shape == (4, 3)


def test_a_head_of_currents_is_exact_at_every_size_and_multiplies() -> None:
    model, images = awake(1, 4, head="currents")
    deployed = ss.deploy(model, images)
    assert audit(deployed, images).offenders == ["head"]
    for shown in (images, images[..., :16, :16]):
        compared = deployed.verify(shown, against=("spikes", *NATIVE, "onnx", "openvino"))
        assert compared.equal, compared.table()
    assert deployed.scale_at((16, 16)) == 3 * deployed.scale


def test_both_heads_have_no_integer_form() -> None:
    model, images = awake(1, 4, head="both")
    with pytest.raises(ss.errors.UserError):
        ss.deploy(model, images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (8, 8, 8)}, "pass 4 or 5 numbers"),
        ({"depths": (1, 1)}, "depths needs 5 entries"),
        ({"heads": 3}, "heads=3 must divide"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ss.errors.UserError, match=message):
        ss.create_model("espikeformer_nano", **options)
