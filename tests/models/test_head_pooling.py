"""What a Meta-SpikeFormer's classifier reads: means of counts, or counts of means."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import spikesight as ss


def _images() -> Tensor:
    return torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def _model(head_pools: str) -> ss.SpikingModel:
    torch.manual_seed(0)
    model: ss.SpikingModel = ss.create_model(
        "metaspikformer_nano", in_channels=1, num_classes=10, head_pools=head_pools
    )
    return model.eval()


def test_a_head_averages_the_counts_of_a_neuron_at_every_pixel() -> None:
    model = _model("counts")
    counts = model.head_neuron(model.trunk(model.presentation(_images())))
    assert counts.ndim == 4
    assert torch.equal(model(_images()), model.head(counts.mean((-2, -1))))


def test_a_head_counts_averages_of_currents() -> None:
    model = _model("currents")
    means = model.trunk(model.presentation(_images())).mean((-2, -1))
    assert torch.equal(model(_images()), model.head(model.head_neuron(means)))


def test_features_and_head_are_the_whole_model() -> None:
    model = _model("counts")
    features = model.forward_features(_images())
    assert torch.equal(model.forward_head(features), model(_images()))
    assert torch.equal(model.head(model.forward_head(features, pre_logits=True)), model(_images()))


def test_both_heads_are_deployed_without_a_mismatch() -> None:
    for pools in ("counts", "currents"):
        net = ss.deploy(_model(pools), _images())
        assert net.verify(_images(), against=("spikes",)).mismatches == 0


def test_a_saved_model_keeps_its_head(tmp_path: Path) -> None:
    for pools in ("counts", "currents"):
        _model(pools).save_pretrained(tmp_path / pools)
        assert torch.equal(ss.load(tmp_path / pools)(_images()), _model(pools)(_images()))
