"""What is Spikformer's own: stems, sizes, baselines."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import spikesight as ss
from spikesight.models.spikformer import Spikformer
from tests.conftest import firing_rates, wake

RELEASED = {
    "spikformer_8_384": ({}, 16_828_312),
    "spikformer_8_512": ({}, 29_705_768),
    "spikformer_8_768": ({}, 66_363_208),
    "spikformer_4_384": ({"num_classes": 10}, 9_330_874),
    "spikformer_2_256": (
        {"num_classes": 10, "in_channels": 2, "position_tokens": 64},
        2_585_610,
    ),
}


@pytest.mark.parametrize("name", RELEASED)
def test_with_what_is_never_read_the_counts_are_those_of_the_released_modules(name: str) -> None:
    options, parameters = RELEASED[name]
    with torch.device("meta"):
        model = ss.create_model(name, layer_norms=True, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters
    unread = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert unread
    assert all("unread" in n for n in unread)


def test_resolutions_and_features() -> None:
    sizes = {
        "spikformer_8_384": ([48, 96, 192, 384], [2, 4, 8, 16]),
        "spikformer_4_384": ([96, 192, 384], [1, 2, 4]),
        "spikformer_v2_8_384": ([48, 96, 192, 384], [2, 4, 8, 16]),
        "spikformer_v2_tiny": ([64, 128], [2, 4]),
        "spikformer_small": ([32, 64, 256, 256], [1, 2, 4, 8]),
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


@pytest.mark.parametrize("stem", ["sps", "scs", "pooled", "plain"])
def test_each_stem_takes_images_of_any_size_and_events(stem: str) -> None:
    model = ss.create_model(
        "spikformer_nano", num_classes=3, in_channels=2, stem=stem, neuron="lif", steps=3
    ).eval()
    for height, width in ((8, 16), (20, 12)):
        image = torch.rand(2, 2, height, width)
        frames = image[:, None].expand(2, 3, 2, height, width)
        torch.testing.assert_close(model(frames), model(image))


@pytest.mark.parametrize("stem", ["sps", "scs", "pooled", "plain"])
@pytest.mark.parametrize("steps", [1, 2])
def test_baseline_stems_prove_and_deploy(stem: str, steps: int) -> None:
    sizes = {"width": 16, "stem": stem, "attention_scale": 1.0}
    model = ss.create_model("spikformer_nano", num_classes=3, neuron="lif", steps=steps, **sizes)
    x = torch.randn(2, 3, 16, 16) * 2
    wake(model, x)
    result = ss.verify(model, x)
    assert result.equal, result.table()
    assert result.silent == []
    deployed = ss.deploy(model, x).verify(x)
    assert deployed.equal
    assert deployed.silent == []


def test_pooling_spikes_or_currents_is_one_at_a_single_step() -> None:
    def model(pool_of: str, steps: int) -> Spikformer:
        torch.manual_seed(0)
        built: Spikformer = ss.create_model(
            "spikformer_nano", num_classes=4, neuron="lif", steps=steps, pool_of=pool_of
        )
        return built.double().eval()

    x = torch.rand(2, 3, 16, 16).double() * 4
    once = [model(kind, 1)(x) for kind in ("spikes", "currents")]
    torch.testing.assert_close(*once, rtol=0, atol=0)
    often = [model(kind, 4)(x) for kind in ("spikes", "currents")]
    assert not torch.equal(*often)


def test_a_stream_in_pieces_is_the_whole_stream() -> None:
    def model(steps: int) -> Spikformer:
        torch.manual_seed(0)
        built: Spikformer = ss.create_model(
            "spikformer_v2_nano", num_classes=5, neuron="lif", steps=steps
        )
        return built.double().eval()

    frames = torch.rand(2, 4, 3, 16, 16).double() * 3
    first, state = ss.neurons.run_with_state(model(2), frames[:, :2])
    second, _ = ss.neurons.run_with_state(model(2), frames[:, 2:], state)
    torch.testing.assert_close((first + second) / 2, model(4)(frames), rtol=1e-12, atol=1e-12)


def test_the_softmax_baseline_trains() -> None:
    model = ss.create_model("spikformer_nano", num_classes=4, attention="softmax")
    model(torch.rand(4, 3, 28, 28)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    product = model.trunk[4].attention.product
    value = torch.rand(1, 8, 2, 3)
    # Equal similarities give the mean of the values.
    mean = product(torch.zeros(1, 8, 2, 3), torch.rand(1, 8, 2, 3), value)
    torch.testing.assert_close(mean, value.mean((-1, -2), keepdim=True).expand_as(value))


@pytest.mark.parametrize("name", ["spikformer_nano", "spikformer_v2_nano"])
def test_every_neuron_fires_at_the_start_over_time(name: str) -> None:
    model = ss.create_model(name, num_classes=10, neuron="lif", steps=4).train()
    rates = firing_rates(model, torch.rand(16, 3, 28, 28))
    assert all(0.02 < rate < 0.9 for rate in rates.values()), rates


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": 5}, "heads=5 must divide"),
        ({"strides": (2, 4)}, "pass 1 or 2"),
        ({"strides": ()}, "pass 1 or 2"),
        ({"width": 30, "heads": 1}, "not divisible by 4"),
        ({"stem": "patch"}, "stem='patch'"),
        ({"stem_widths": (32, 64)}, "pass 3 numbers, one for each stage"),
        ({"attention": "linear"}, "attention='linear'"),
        ({"pool_of": "means"}, "pool_of='means'"),
    ],
)
def test_mistakes_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ss.create_model("spikformer_nano", **sizes)


@pytest.mark.parametrize(
    ("name", "giga_macs"),
    [
        ("spikformer_v2_8_384", 11.28),
        ("spikformer_v2_8_512", 20.05),
        pytest.param("spikformer_v2_16_768", 56.20, marks=pytest.mark.nightly),
    ],
)
def test_macs_of_the_reconstruction(name: str, giga_macs: float) -> None:
    """Per time step at 224 px, without the attention products."""
    with torch.device("meta"):
        model = ss.create_model(name)
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224))
    sizes = model.sizes
    products = 2 * 14**2 * sizes.width**2 // sizes.heads * sizes.depth
    macs = counter.get_total_flops() / 2 - products
    assert macs / 1e9 == pytest.approx(giga_macs, abs=0.005)
