"""What is QKFormer's own: sizes, embeddings, the leak that must be asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.errors import UserError
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE

SMALL: dict[str, Any] = {"width": 32, "num_classes": 5, "in_channels": 2}
RELEASED = {
    ("qkformer_4_384", 10, 3): 6_706_234,
    ("qkformer_4_384", 100, 3): 6_740_884,
    ("qkformer_2_256_cifar10dvs", 10, 2): 1_504_138,
    ("qkformer_2_256_gesture", 11, 2): 1_999_371,
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
        "qkformer_10_384": ([96, 192, 384], [4, 8, 16]),
        "qkformer_4_384": ([96, 192, 384], [1, 2, 4]),
        "qkformer_2_256_gesture": ([128, 256], [8, 16]),
    }
    for name, (channels, reductions) in sizes.items():
        with torch.device("meta"):
            trunk = ss.create_model(name, features_only=True, steps=2)
            maps = trunk(torch.empty(1, 3, 32, 64))
        assert trunk.feature_info.channels() == channels
        assert trunk.feature_info.reduction() == reductions
        assert [tuple(m.shape) for m in maps] == [
            (1, 2, c, 32 // r, 64 // r) for c, r in zip(channels, reductions, strict=True)
        ]


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    ("form", "depths"), [("imagenet", (1, 1, 1)), ("events", (1, 1)), ("events", (1, 0, 1))]
)
def test_all_embeddings_prove_and_deploy(form: str, depths: tuple[int, ...], steps: int) -> None:
    options = {"form": form, "depths": depths, "attention_scale": 1.0, **SMALL}
    model = ss.create_model("qkformer_nano", neuron="lif", steps=steps, **options)
    frames = torch.rand(2, steps, 2, 32, 64) * 3
    wake(model, frames)
    assert ss.verify(model, frames).equal
    report = ss.deploy(model, frames).verify(frames, against=("spikes", *NATIVE))
    assert report.mismatches == 0, report.table()
    assert report.silent == []


def test_sizes_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="heads=3"):
        ss.create_model("qkformer_nano", heads=3)
    with pytest.raises(UserError, match="depths"):
        ss.create_model("qkformer_nano", depths=())
    with pytest.raises(UserError, match="divisible by heads=4 and by 8"):
        ss.create_model("qkformer_nano", width=16, form="events")


def test_the_leak_is_named_and_warned() -> None:
    with pytest.warns(UserWarning, match="leak into each other"):
        model = ss.create_model("qkformer_nano", steps=2, neuron="lif", official="leaking", **SMALL)
    x = torch.rand(3, 2, 16, 16) * 3
    wake(model, x)
    right = ss.create_model("qkformer_nano", steps=2, neuron="lif", **SMALL).eval()
    right.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(x[:1]), right(x[:1]))
        assert not torch.equal(model(x), right(x))
    with pytest.raises(UserError, match=r"official='leaking'.*build the model without it"):
        ss.deploy(model, x)
