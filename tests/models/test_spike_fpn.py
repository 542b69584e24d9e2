from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.inference import View, ViewConfig, photo_scores, single_view
from spikesight.losses import PixelLoss, Segments
from spikesight.segmentation_outputs import PixelSegmentation
from tests.conftest import firing_rates, wake
from tests.deployment.native_forms import NATIVE

CLASSES = 5
OPTIONS: list[dict[str, Any]] = [
    {},
    {"steps": 2},
    {"levels": 8},
    {"neuron": "lif", "steps": 1},
    {"neuron": "lif", "steps": 4},
]


def images(size: int, batch: int = 2) -> Tensor:
    coarse = torch.randn(batch, 3, 6, 6)
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return smooth + 0.5 * torch.randn(batch, 3, size, size)


def awake(name: str = "spike_fpn_nano", **options: Any) -> tuple[nn.Module, Tensor]:
    model = ss.create_model(name, num_classes=CLASSES, **options)
    x = torch.rand(2, 3, 32, 48)
    return wake(model, x), x


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("spike_fpn_nano", o) for o in OPTIONS),
        ("spike_fpn_tiny", {}),
        ("semantic_fpn_nano", {}),
        ("semantic_fpn_nano", {"neuron": "ie_lif"}),
    ],
)
def test_every_neuron_fires_at_the_start(name: str, options: dict[str, Any]) -> None:
    model = ss.create_model(name, num_classes=CLASSES, **options)
    rates = firing_rates(model.train(), images(96))
    assert all(0.003 < rate < 0.5 for rate in rates.values()), rates


@pytest.mark.parametrize("options", [{"steps": 2}, {"neuron": "relu"}], ids=str)
def test_learns_from_every_parameter(options: dict[str, Any]) -> None:
    model = ss.create_model("spike_fpn_nano", num_classes=CLASSES, **options).train()
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[:, 32:] = 3
    labels[:16] = 255
    truth = [Segments.from_label_map(labels, CLASSES)] * 2
    PixelLoss(CLASSES)(model(images(64)), truth)["total"].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("name", ["semantic_fpn_nano", "spike_fpn_nano"])
def test_added_layers_start_by_xaviers_rule_in_semantic_fpn_alone(name: str) -> None:
    model = ss.create_model(name, num_classes=CLASSES)
    convolutions = [
        module
        for part in (model.pyramid, model.head)
        for module in part.modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert len(convolutions) == 16
    for module in convolutions:
        area = math.prod(module.kernel_size)
        bound = math.sqrt(6 / (area * (module.in_channels + module.out_channels)))
        within = float(module.weight.detach().abs().max()) <= bound
        assert within == (name == "semantic_fpn_nano")


@pytest.mark.parametrize("name", ["15m", "31m", "55m"])
def test_semantic_fpn_adds_the_same_to_every_trunk(name: str) -> None:
    """128 channels at every size, where QSD-Transformer counts bits in its columns (table 3)."""
    with torch.device("meta"):
        model = ss.create_model(f"semantic_fpn_{name}", num_classes=150).eval()
        assert model(torch.empty(1, 3, 64, 64)).pixel_logits.shape == (1, 150, 32, 32)
    added = sum(p.numel() for part in (model.pyramid, model.head) for p in part.parameters())
    laterals = 128 * sum(model.trunk.channels)
    three_by_three = (4 + 7) * 9 * 128 * 128
    norms = 2 * 128 * (4 + 4 + 7)
    assert added == laterals + three_by_three + norms + 150 * (128 + 1)


def test_sizes_are_the_published_ones() -> None:
    """17 and 59 million parameters (Spike2Former table 1)."""
    for name, millions in (("spike_fpn_15m", 17), ("spike_fpn_55m", 59)):
        with torch.device("meta"):
            model = ss.create_model(name, num_classes=150).eval()
            assert model(torch.empty(1, 3, 64, 64)).pixel_logits.shape == (1, 150, 32, 32)
        parameters = sum(p.numel() for p in model.parameters())
        assert abs(parameters / 1e6 - millions) < 0.6


def test_the_loss_is_the_cross_entropy_of_known_pixels() -> None:
    labels = torch.randint(0, CLASSES + 1, (2, 8, 8))
    labels[labels == CLASSES] = 255
    logits = torch.randn(2, CLASSES, 8, 8)
    truth = [Segments.from_label_map(one, CLASSES) for one in labels]
    expected = nn.functional.cross_entropy(logits, labels, ignore_index=255)
    loss = PixelLoss(CLASSES)(PixelSegmentation(logits), truth)["total"]
    torch.testing.assert_close(loss, expected)
    void = [Segments.from_label_map(torch.full((8, 8), 255), CLASSES)] * 2
    assert float(PixelLoss(CLASSES)(PixelSegmentation(logits), void)["total"]) == 0
    with pytest.raises(ValueError, match="num_classes=5"):
        PixelLoss(4)(PixelSegmentation(logits), truth)
    with pytest.raises(ValueError, match="one per image"):
        PixelLoss(CLASSES)(PixelSegmentation(logits), truth[:1])


def test_scores_are_probabilities_of_the_photo_without_padding() -> None:
    model, _ = awake()
    view = View(model, model.stride, (32, 32), ViewConfig(flip=True))
    with torch.no_grad():
        scores = photo_scores(view, torch.rand(1, 3, 30, 41))
    assert scores.shape == (1, CLASSES, 30, 41)
    torch.testing.assert_close(scores.sum(1), torch.ones(1, 30, 41))
    with pytest.raises(ValueError, match="spike2former_nano"):
        single_view(View(model, model.stride, (32, 32), ViewConfig()), torch.rand(1, 3, 30, 41))


@pytest.mark.parametrize(
    "options",
    [{}, {"neuron": "lif", "steps": 4}, {"name": "semantic_fpn_nano", "neuron": "ie_lif"}],
    ids=str,
)
def test_passes_and_integer_network(options: dict[str, Any]) -> None:
    model, x = awake(**options)
    result = ss.verify(model, x)
    assert result.equal, result.table()
    assert result.output_error < 1e-9
    assert result.silent == []
    net = ss.deploy(model, x)
    report = net.verify(x, against=("spikes", *NATIVE, "training"))
    assert report.equal, report.table()
    # An untrained network's classes lie close together.
    assert report.agreement is not None
    assert report.agreement > 0.4
    assert net(x).shape == (2, CLASSES, 16, 24)
    assert ss.audit(net, x).spike_driven


def test_energy_beside_the_twin() -> None:
    spiking, twin = (ss.energy(*awake(**options)) for options in ({}, {"neuron": "relu"}))
    assert spiking.twin_picojoules == pytest.approx(twin.picojoules)
    assert spiking.picojoules < 0.5 * twin.picojoules
    kinds = {layer.kind for layer in spiking.layers if layer.multiplies}
    assert kinds == {"first layer", "upsampling"}


def test_a_saved_segmenter_comes_back(tmp_path: Path) -> None:
    model, x = awake(steps=2)
    model.save_pretrained(tmp_path)
    assert torch.equal(ss.load(tmp_path)(x).pixel_logits, model(x).pixel_logits)
    with pytest.raises(ValueError, match="build its trunk"):
        ss.create_model("spike_fpn_nano", features_only=True)
