"""What is SDT-V1's own: sizes, maxima in its attention, the shortcut within its MLP."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.errors import UserError
from spikesight.models.sdtv1 import Block
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE

SMALL: dict[str, Any] = {"width": 16, "num_classes": 5, "in_channels": 2}
# Without the map of heads that every released attention holds and never reads: 64 per block.
RELEASED = {
    ("sdtv1_2_256", 10, 3): 2_567_082 - 128,
    ("sdtv1_2_512", 10, 3): 10_233_546 - 128,
    ("sdtv1_2_256", 100, 3): 2_590_212 - 128,
    ("sdtv1_2_512", 100, 3): 10_279_716 - 128,
    ("sdtv1_2_256_cifar10dvs", 10, 2): 2_566_794 - 128,
    ("sdtv1_2_256_gesture", 11, 2): 2_567_051 - 128,
}


@pytest.mark.parametrize("released", RELEASED)
def test_small_sizes_have_the_official_parameters(released: tuple[str, int, int]) -> None:
    name, classes, channels = released
    with torch.device("meta"):
        model = ss.create_model(name, num_classes=classes, in_channels=channels)
        assert model(torch.empty(1, channels, 64, 64)).shape == (1, classes)
    assert sum(p.numel() for p in model.parameters()) == RELEASED[released]


def test_resolutions_and_features() -> None:
    sizes = {
        "sdtv1_8_384": ([48, 96, 192, 384], [2, 4, 8, 16]),
        "sdtv1_2_256": ([64, 128, 256], [1, 2, 4]),
        "sdtv1_2_256_gesture": ([32, 64, 128, 256], [1, 2, 4, 8]),
    }
    for name, (channels, reductions) in sizes.items():
        with torch.device("meta"):
            trunk = ss.create_model(name, features_only=True, steps=2)
            maps = trunk(torch.empty(1, 3, 32, 64))
        assert trunk.feature_info.channels() == channels
        assert [tuple(m.shape) for m in maps] == [
            (1, 2, c, 32 // r, 64 // r) for c, r in zip(channels, reductions, strict=True)
        ]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_maxima_over_space_are_exact_between_binary_spikes(steps: int) -> None:
    model = ss.create_model(
        "sdtv1_nano", neuron="lif", steps=steps, attention_pools=True, attention_scale=1.0, **SMALL
    )
    frames = torch.rand(2, steps, 2, 16, 24) * 3
    wake(model, frames)
    assert ss.verify(model, frames).equal
    report = ss.deploy(model, frames).verify(frames, against=("spikes", *NATIVE))
    assert report.mismatches == 0, report.table()
    assert report.silent == []


def test_maxima_of_products_of_counts_are_refused_with_a_remedy() -> None:
    model = ss.create_model("sdtv1_nano", levels=4, attention_pools=True, **SMALL)
    with pytest.raises(UserError, match=r"meet_pool takes the maximum of .*pool a neuron's spikes"):
        ss.deploy(model.eval(), torch.rand(1, 2, 16, 16))


def test_the_slip_is_named_warned_and_no_graph() -> None:
    with pytest.raises(UserError, match="attention_pools=True"):
        ss.create_model("sdtv1_nano", official="channel_pools", **SMALL)
    asked = {"attention_pools": True, "official": "channel_pools", **SMALL}
    with pytest.raises(UserError, match="heads=7"):
        ss.create_model("sdtv1_nano", heads=7, **asked)
    with pytest.warns(UserWarning, match="by mistake"):
        model = ss.create_model("sdtv1_nano", heads=4, **asked)
    with pytest.raises(UserError, match="build the model without it"):
        ss.trace(model)


@pytest.mark.parametrize("neuron", ["lif", "i_lif"])
def test_an_mlp_of_one_width_has_a_shortcut_around_each_layer(neuron: str) -> None:
    model = ss.create_model("sdtv1_nano", neuron=neuron, steps=2, mlp_ratio=1, **SMALL)
    x = torch.rand(2, 2, 16, 16) * 3
    wake(model, x)
    block = next(m for m in model.modules() if isinstance(m, Block))
    with torch.no_grad():
        stream = torch.randn(4, 16, 4, 4)
        middle = stream + block.attention(stream)
        middle = middle + block.mlp.expand(block.mlp.neuron1(middle))
        expected = middle + block.mlp.project(block.mlp.neuron2(middle))
        assert torch.equal(block(stream), expected)
    report = ss.deploy(model, x).verify(x)
    assert report.equal
    assert report.silent == []
