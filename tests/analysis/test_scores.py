import math
from pathlib import Path

import pytest
import torch
from PIL import Image

import spikesight
from spikesight.analysis import (
    attention_scores,
    mutual_information,
    score_distribution,
    score_distributions,
)
from spikesight.reports import draw_score_histograms
from tests.conftest import wake

SIZES = {"widths": (4, 4, 8, 8, 8), "depths": (0, 1, 0, 1, 1), "heads": 2}


def model(neuron: str, steps: int = 1) -> spikesight.SpikingModel:
    torch.manual_seed(0)
    built: spikesight.SpikingModel = spikesight.create_model(
        "metaspikformer_nano", num_classes=3, in_channels=1, neuron=neuron, steps=steps, **SIZES
    )
    wake(built, torch.randn(4, 1, 16, 16))
    return built


def test_scores_are_products_of_queries_and_keys() -> None:
    network, images = model("i_lif", steps=2).train(), torch.randn(3, 1, 16, 16)
    spikes: dict[str, torch.Tensor] = {}
    attention = network.trunk[3][1].attention
    for name in ("query", "key"):
        getattr(attention, f"{name}_neuron").register_forward_hook(
            lambda _, inputs, output, name=name: spikes.__setitem__(name, output)
        )
    first, second = attention_scores(network, images)
    assert network.training
    assert not attention.product._forward_pre_hooks
    assert first.shape == (6, 2, 16, 16)
    assert second.shape[:2] == (6, 2)
    own = [spikes[name][1, 4:].flatten(1) for name in ("query", "key")]
    torch.testing.assert_close(first[1, 1], own[0].T @ own[1])
    assert first.any()


def test_entropy_of_what_is_known() -> None:
    normal = score_distribution("normal", [torch.randn(100_000), torch.randn(10, 10_000)])
    coin = score_distribution("coin", [torch.tensor([0.0, 8.0]).repeat(100)])
    die = score_distribution("die", [torch.arange(4.0).repeat(50)])
    assert normal.entropy == pytest.approx(normal.normal_entropy, abs=0.01)
    assert normal.normal_entropy == pytest.approx(math.log2(math.sqrt(2 * math.pi * math.e) * 8))
    assert coin.entropy == pytest.approx(1)
    assert (coin.mean, coin.deviation) == (4, 4)
    assert die.entropy == pytest.approx(2)
    assert all(float(scores.shares.sum()) == pytest.approx(1) for scores in (normal, coin, die))


def test_information_of_what_is_known() -> None:
    bits = torch.arange(4.0).repeat(100)
    information, conditional = mutual_information([bits], [bits * -3 + 1])
    assert information == pytest.approx(2)
    assert conditional == pytest.approx(0, abs=1e-9)
    half = (bits >= 2).float()
    information, conditional = mutual_information([bits], [half])
    assert (information, conditional) == pytest.approx((1, 1))
    information, _ = mutual_information([bits], [torch.arange(4.0).repeat_interleave(100)])
    assert information == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="same shape and the same images"):
        mutual_information([bits], [bits, bits])
    with pytest.raises(ValueError, match="all scores of the teacher are the same"):
        mutual_information([bits], [bits * 0])


def test_models_side_by_side(tmp_path: Path) -> None:
    images = torch.randn(3, 1, 16, 16)
    found = score_distributions({"spikes": model("i_lif"), "twin": model("relu")}, images)
    assert [scores.name for scores in found] == ["spikes", "twin"]
    assert all(0 < scores.entropy < scores.normal_entropy for scores in found)
    draw_score_histograms(found, tmp_path / "scores.png")
    assert Image.open(tmp_path / "scores.png").size[0] > 700
    with pytest.raises(ValueError, match="no attention scores to draw"):
        draw_score_histograms([], tmp_path / "none.png")


def test_silent_attention_is_an_error() -> None:
    network = model("i_lif")
    with torch.no_grad():
        for layer in network.trunk:
            for block in layer:
                if hasattr(block, "attention"):
                    block.attention.query.outer_norm.weight.zero_()
                    block.attention.query.outer_norm.bias.fill_(-1)
    with pytest.raises(ValueError, match="all attention scores of net are 0"):
        score_distributions({"net": network}, torch.randn(1, 1, 16, 16))
