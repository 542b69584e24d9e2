"""What is Max-Former's own, and MS-QKFormer's: stems, embeddings, mixers, sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import spikesight as ss
from tests.conftest import wake

RELEASED: list[tuple[str, dict[str, Any], int]] = [
    ("maxformer_4_384", {"num_classes": 10}, 6_568_282),
    ("maxformer_4_384", {"num_classes": 100}, 6_602_932),
    ("maxformer_2_256", {"num_classes": 10, "in_channels": 2}, 1_455_626),
    ("maxformer_2_256", {"num_classes": 11, "in_channels": 2}, 1_455_626 + 257),
    # As many as QKFormer's, whose topology they have.
    ("ms_qkformer_4_384", {"num_classes": 10}, 6_706_234),
    ("ms_qkformer_4_384", {"num_classes": 100}, 6_740_884),
    ("ms_qkformer_2_256", {"num_classes": 10, "in_channels": 2}, 1_504_138),
]
FORMS: dict[str, dict[str, Any]] = {
    "flat": {"mixers": ("depthwise_7", "attention_depthwise"), "steps": 2},
    "strided": {"stem": "strided", "mixers": ("max_pool", "attention"), "levels": 4},
    "events": {"stem": "events", "mixers": ("depthwise_5", "attention"), "mlp_ratio": 1},
    "first pooled": {"pools": "first", "mixers": ("none", "token_attention"), "levels": 3},
    "second pooled": {"stem": "pooled", "pools": "second", "mlp_ratio": 1, "steps": 2},
}


@pytest.mark.parametrize(("name", "options", "parameters"), RELEASED)
def test_the_forms_for_small_images_and_events_have_the_official_parameters(
    name: str, options: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        model = ss.create_model(name, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "channels", "reductions"),
    [
        ("maxformer_10_512", [128, 256, 512], [4, 8, 16]),
        ("maxformer_4_384", [96, 192, 384], [1, 2, 4]),
        ("maxformer_2_256", [128, 256], [8, 16]),
        ("ms_qkformer_10_384", [96, 192, 384], [4, 8, 16]),
    ],
)
def test_resolutions_and_features(name: str, channels: list[int], reductions: list[int]) -> None:
    with torch.device("meta"):
        trunk = ss.create_model(name, features_only=True, steps=2)
        maps = trunk(torch.empty(1, 3, 32, 64))
    assert trunk.feature_info.channels() == channels
    assert trunk.feature_info.reduction() == reductions
    assert [tuple(m.shape) for m in maps] == [
        (1, 2, c, 32 // r, 64 // r) for c, r in zip(channels, reductions, strict=True)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_part_computes_the_same_counts_in_every_form(form: str) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    options = {"mixers": ("depthwise_3", "token_attention"), "attention_scale": 1.0, **FORMS[form]}
    neuron = "i_lif" if "levels" in options else "lif"
    sizes = {"widths": (8, 16), "depths": (1, 1), "heads": 2, **options}
    model = ss.create_model("maxformer_nano", num_classes=3, neuron=neuron, **sizes)
    x = torch.rand(2, 3, 32, 48) * 3
    wake(model, x)
    proved = ss.verify(model, x)
    assert proved.equal, proved.table()
    assert proved.silent == []
    net = ss.deploy(model, x)
    report = net.verify(x, against=("spikes", "onnx", "openvino"))
    assert report.equal, report.table()
    assert report.silent == []
    assert ss.audit(net, x).spike_driven


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"depths": (1, 1)}, "one entry of each for each of up to 8 stages"),
        ({"mixers": ("none", "depthwise_9", "none")}, "each one of none, max_pool, depthwise_3"),
        ({"widths": (15, 32, 96)}, "'flat' needs a first one that is divisible by 2"),
        ({"heads": 5}, "heads=5 must divide the width 96"),
        ({"pools": "both"}, "pools='both'; pass one of"),
    ],
)
def test_sizes_that_fit_no_network_say_so(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ss.create_model("maxformer_nano", **sizes)
