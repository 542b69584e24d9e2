"""What is SpikingResformer's own: sizes, running rates, and that no graph says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.attention import DualSpikeSelfAttention, RunningRate
from spikesight.errors import UserError
from spikesight.graph.tracing import UntraceableError
from tests.conftest import firing_rates, wake

GESTURE: dict[str, Any] = {"neuron": "lif", "neuron_arguments": {"learnable_tau": True}}
RELEASED = {
    ("spikingresformer_cifar", 10): (10_793_152, {}),
    ("spikingresformer_cifar", 100): (10_827_712, {}),
    ("spikingresformer_dvsg", 11): (2_709_830, GESTURE),
}


def _nano(**options: Any) -> ss.SpikingModel:
    torch.manual_seed(0)
    options = {"num_classes": 5, "in_channels": 2, **options}
    model: ss.SpikingModel = ss.create_model("spikingresformer_nano", **options)
    return model


@pytest.mark.parametrize("released", RELEASED)
def test_sizes_of_small_images_have_the_official_parameters(released: tuple[str, int]) -> None:
    (name, classes), (parameters, options) = released, RELEASED[released]
    with torch.device("meta"):
        model = ss.create_model(name, num_classes=classes, **options)
        assert model(torch.empty(1, 3, 64, 64)).shape == (1, classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resolutions_and_features() -> None:
    for name, first in (("spikingresformer_ti", 4), ("spikingresformer_cifar", 1)):
        with torch.device("meta"):
            trunk = ss.create_model(name, features_only=True, steps=2)
            maps = trunk(torch.empty(1, 3, 32, 64))
        assert trunk.stride == 4 * first
        assert trunk.feature_info.channels() == [64, 192, 384]
        assert trunk.feature_info.reduction() == [first, 2 * first, 4 * first]
        assert [tuple(m.shape[-2:]) for m in maps] == [
            (32 // (first << i), 64 // (first << i)) for i in range(3)
        ]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"heads": (1, 2)}, "one entry of each"),
        ({"heads": (1, 2, 5)}, r"heads=\(1, 2, 5\) must divide"),
        ({"group_size": 48}, "group_size=48 must divide the hidden width 32"),
        ({"image_size": 30}, "image_size=30 must be divisible by 4"),
        ({"prologue": "flatt"}, "prologue"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        _nano(**options)


def test_a_head_starts_with_its_own_first_spikes_and_is_never_infinite() -> None:
    rate = RunningRate(2).double()
    silent, both = torch.zeros(4, 2, 3, 5).double(), torch.ones(4, 2, 3, 5).double()
    silent[:2, 0] = 1
    with torch.no_grad():
        assert rate.eval()(silent, 4).flatten().tolist() == [0.5, 0.5]
        rate.train()(silent, 4)
        assert rate.running_mean.flatten().tolist() == [0.5, 0.0]
        scale = rate(both, 4)
    started = torch.tensor([0.999 * 0.5 + 0.001, 1.0], dtype=torch.float64)
    torch.testing.assert_close(rate.running_mean.flatten(), started)
    torch.testing.assert_close(scale.flatten(), (4 * started).rsqrt())


@pytest.mark.parametrize("training", [True, False])
def test_a_silent_head_gives_finite_currents_and_gradients(training: bool) -> None:
    torch.manual_seed(0)
    attention = DualSpikeSelfAttention(16, 2, 2, lambda: ss.create_neuron("lif", 2))
    attention.train(training)
    x = torch.randn(4, 16, 4, 4) * 3
    x[:, 8:] = -1  # the second head never fires
    x.requires_grad_()
    current = attention(x)
    (current * torch.randn_like(current)).sum().backward()
    assert current.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[:, 8:].any()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all(), name
    expected = [True, False] if training else [False, False]
    assert (attention.spike_rate.running_mean.flatten() > 0).tolist() == expected


@pytest.mark.parametrize("neuron", ["lif", "i_lif", "ni_lif", "relu"])
def test_the_sums_have_the_variance_of_their_currents(neuron: str) -> None:
    torch.manual_seed(0)
    attention = DualSpikeSelfAttention(64, 2, 1, lambda: ss.create_neuron(neuron)).train()
    seen: list[Tensor] = []
    for module in (attention.map_neuron, attention.attention_neuron):
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        attention(torch.randn(8, 64, 8, 8) * 2)
    for current in seen:
        assert 0.5 < float(current.std()) < 2.0


@pytest.mark.parametrize("neuron", ["lif", "i_lif"])
def test_evaluation_is_that_of_fixed_rates(neuron: str) -> None:
    model = _nano(neuron=neuron, steps=2).double()
    x = torch.rand(3, 2, 16, 16, dtype=torch.float64) * 3
    wake(model, x)
    assert min(firing_rates(model, x).values()) > 0.01
    rates = {n: b.clone() for n, b in model.named_buffers() if "rate" in n}
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(one) for one in x.split(1)])
    torch.testing.assert_close(alone, together, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(b, rates[n]) for n, b in model.named_buffers() if n in rates)


def test_the_number_of_keys_is_that_of_the_map_unless_it_is_fixed() -> None:
    x = torch.rand(1, 2, 32, 24) * 3
    free = _nano()
    wake(free, x)
    small, same = _nano(image_size=16).eval(), _nano(image_size=None).eval()
    for model in (small, same):
        model.load_state_dict(free.state_dict())
    with torch.no_grad():
        square = x[..., :16, :16]
        assert torch.equal(small(square), free(square))
        assert torch.equal(same(x), free(x))
        assert not torch.equal(small(x), free(x))


@pytest.mark.parametrize(
    "asks",
    [
        lambda model, x: ss.trace(model),
        lambda model, x: ss.verify(model, x),
        lambda model, x: ss.deploy(model, x),
        lambda model, x: ss.energy(model, x),
        lambda model, x: ss.quantize(model, 4),
    ],
)
def test_no_graph_says_it_and_the_reason_is_named(asks: Callable[..., Any]) -> None:
    model = _nano().eval()
    with pytest.raises(UntraceableError, match=r"SpikingResformer's .* current by spikes.*take"):
        asks(model, torch.rand(1, 2, 16, 16))


def test_a_fresh_head_has_no_bias_either() -> None:
    model = _nano()
    assert isinstance(model, ss.Classifier)
    model.reset_classifier(7)
    assert [tuple(p.shape) for p in model.head.parameters()] == [(7, 96)]
