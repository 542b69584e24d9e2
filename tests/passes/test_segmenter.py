"""The passes on a whole segmenter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.costs.report import EnergyReport
from spikesight.graph import MaskProduct, Resize, Sample, execute_all
from spikesight.models.spike2former import ABLATIONS
from tests.conftest import wake

UNTRACEABLE = ("spiking_mask2former", "masked_attention", "sigmoid_l2")
SLOW = ("panoptic", "norm_in_cross_attention", "constant_8", "vanilla_spike_fpn", "without_esc")
CASES: list[Any] = [
    {},
    {"steps": 2},
    {"official": True, "layer_scale": 0.5},
    *(
        pytest.param({"ablation": name}, marks=pytest.mark.nightly if name in SLOW else ())
        for name in ABLATIONS
        if name not in (*UNTRACEABLE, "baseline")
    ),
]


def segmenter(**options: Any) -> tuple[nn.Module, Tensor]:
    model = ss.create_model("spike2former_nano", num_classes=5, **options)
    x = torch.rand(2, 3, 32, 48) * 3
    return wake(model, x), x


@pytest.mark.parametrize("options", CASES, ids=str)
def test_model_graph_and_spikes_agree(options: dict[str, Any]) -> None:
    model, x = segmenter(**options)
    result = ss.verify(model, x)
    assert result.equal, result.table()
    assert result.output_error < 1e-9
    # With the authors' scales a few saturate or fall silent on so small an image.
    assert len(result.silent) <= (4 if options.get("official") else 0), result.silent


@pytest.mark.parametrize("ablation", UNTRACEABLE)
def test_what_the_vocabulary_cannot_say_is_named(ablation: str) -> None:
    model = ss.create_model("spike2former_nano", num_classes=5, ablation=ablation)
    with pytest.raises(ValueError, match="the vocabulary cannot say"):
        ss.trace(model)
    assert model.training


@pytest.mark.parametrize("ablation", ["spiking_mask2former", "masked_attention"])
def test_the_option_that_cannot_be_traced_is_named_with_its_remedy(ablation: str) -> None:
    x = torch.rand(1, 3, 32, 48)
    model = ss.create_model("spike2former_nano", num_classes=5, ablation=ablation)
    for use in (ss.verify, ss.energy, ss.deploy):
        with pytest.raises(ValueError, match="create the model with masked_attention=False"):
            use(model, x)
    options = {"ablation": ablation, "masked_attention": False}
    ss.trace(ss.create_model("spike2former_nano", num_classes=5, **options), x)


def test_a_graph_returns_classes_and_masks() -> None:
    model, x = segmenter()
    model.double()
    classes, masks = execute_all(ss.trace(model), x.double())
    output = model(x.double())
    torch.testing.assert_close(classes, output.class_logits)
    torch.testing.assert_close(masks, output.mask_logits)


def test_energy_names_what_multiplies() -> None:
    model, x = segmenter()
    report = ss.energy(model, x)
    multiplying = {layer.kind for layer in report.layers if layer.multiplies}
    assert multiplying == {"first layer", "upsampling", "bilinear sampling"}
    by_kind = {layer.kind: layer for layer in report.layers}
    graph = ss.fold(ss.trace(model))
    assert sum(isinstance(node, Resize) for node in graph.nodes) == 3
    assert sum(isinstance(node, Sample | MaskProduct) for node in graph.nodes) == 2
    # Four per value of a doubled map, per sampled value; queries x channels x pixels of a mask.
    assert report.layers[-1].kind == "mask product"
    assert by_kind["mask product"].macs == 20 * 64 * 16 * 24
    assert by_kind["upsampling"].macs == 4 * 64 * 16 * 24
    assert by_kind["bilinear sampling"].macs == 4 * 9 * 64 * 2 * 3
    weights = by_kind["attention weights"]
    assert weights.accumulates == pytest.approx(weights.macs * weights.mean_count)
    masks = by_kind["mask product"]
    assert masks.accumulates == pytest.approx(masks.macs * masks.mean_count)


@pytest.mark.parametrize("options", [{}, {"multiplication_free": True}], ids=str)
def test_energy_of_the_deployed_network_has_the_same_operations(options: dict[str, Any]) -> None:
    model, x = segmenter(**options)
    trained, deployed = ss.energy(model, x), ss.energy(ss.deploy(model, x), x)

    def total(report: EnergyReport, field: str, *kinds: str) -> float:
        return sum(getattr(layer, field) for layer in report.layers if layer.kind in kinds)

    for kinds in (("upsampling",), ("bilinear sampling", "attention weights"), ("mask product",)):
        twin = total(trained, "twin_macs", *kinds)
        assert total(deployed, "twin_macs", *kinds) == twin > 0
        assert total(deployed, "accumulates", *kinds) > 0
    # Integers double by shifts and additions: three per number, and one that rounds.
    assert total(deployed, "multiplies", "upsampling") == 0
    assert total(deployed, "accumulates", "upsampling") == total(trained, "macs", "upsampling")


def test_silent_mask_features_cost_nothing() -> None:
    torch.manual_seed(0)
    model = ss.create_model("spike2former_nano", num_classes=5, multiplication_free=True)
    with torch.no_grad():
        model.get_parameter("pixel_decoder.mask_features.norm.bias").fill_(-100.0)
    report = ss.energy(model, torch.rand(1, 3, 32, 48))
    (masks,) = (layer for layer in report.layers if layer.kind == "mask product")
    assert (masks.accumulates, masks.multiplies) == (0, 0)


def test_every_operation_of_the_twin_multiplies() -> None:
    model, x = segmenter(neuron="relu")
    report = ss.energy(model, x)
    assert report.picojoules == pytest.approx(report.twin_picojoules)
    spiking = ss.energy(segmenter()[0], x)
    assert spiking.twin_picojoules == pytest.approx(report.twin_picojoules)
    assert spiking.picojoules < 0.5 * spiking.twin_picojoules
