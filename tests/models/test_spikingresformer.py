"""SpikingResformer: its sizes and running rates, and that every form counts the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention import DualSpikeSelfAttention, RunningRate
from spikesight.costs.audit import audit
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.errors import UserError
from spikesight.graph import CurrentProduct, execute, integer_vocabulary as integer
from tests.conftest import firing_rates, wake
from tests.deployment.native_forms import NATIVE

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
        assert rate.eval()(silent).tolist() == [1.0, 1.0]
        rate.train()(silent)
        assert rate.running_mean.flatten().tolist() == [0.5, 0.0]
        used = rate(both)
    started = torch.tensor([0.999 * 0.5 + 0.001, 1.0], dtype=torch.float64)
    torch.testing.assert_close(rate.running_mean.flatten(), started)
    torch.testing.assert_close(used, started)


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
    assert (attention.map_product.rate.running_mean.flatten() > 0).tolist() == expected


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


EXPORTED = [(1, 4), (2, 8), (4, 1)]


def _awake(steps: int, levels: int, **options: Any) -> tuple[ss.SpikingModel, Tensor]:
    """A small network with warm statistics, all of whose neurons fire, and images."""
    sizes = {"widths": (8, 16, 16), "heads": (1, 2, 2)}
    model = _nano(neuron="i_lif", steps=steps, levels=levels, **{**sizes, **options})
    side = 32 if options.get("prologue") == "pooled" else 16
    images = 2 * torch.randn(2, 2, side, side)
    for _ in range(10):
        model.train()(images)
    rates = firing_rates(model.eval(), images)
    assert all(rates.values()), rates
    return model, images


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_every_form_counts_the_same(steps: int, levels: int) -> None:
    model, images = _awake(steps, levels)
    deployed = ss.deploy(model, images)
    exports = ("onnx", "openvino") if (steps, levels) in EXPORTED else ()
    compared = deployed.verify(images, against=("spikes", *NATIVE, *exports))
    assert compared.equal, compared.table()
    assert ss.verify(model, images).mismatches == 0
    rates = ss.energy(deployed, images).firing_rates
    assert all(rates.values()), rates


@pytest.mark.parametrize("options", [{"prologue": "pooled"}, {"image_size": 64}])
def test_maxima_of_currents_and_a_fixed_number_of_keys_too(options: dict[str, Any]) -> None:
    model, images = _awake(2, 2, **options)
    assert ss.verify(model, images).mismatches == 0
    compared = ss.deploy(model, images).verify(images, against=("spikes", *NATIVE, "onnx"))
    assert compared.equal, compared.table()


def test_a_head_that_never_fired_is_scaled_as_in_the_model() -> None:
    model, images = _awake(1, 4)
    rates = [module for module in model.modules() if isinstance(module, RunningRate)]
    for rate in rates:
        rate.running_mean[-1] = 0
    assert ss.verify(model, images).mismatches == 0
    compared = ss.deploy(model, images).verify(images, against=("spikes", *NATIVE))
    assert compared.equal, compared.table()


def test_the_rates_of_a_graph_are_those_of_evaluation_and_stay() -> None:
    model, images = _awake(1, 4)
    graph = ss.trace(model)
    products = [node for node in graph.nodes if isinstance(node, CurrentProduct)]
    expected = [m.running_mean.flatten() for m in model.modules() if isinstance(m, RunningRate)]
    assert all(torch.equal(n.rate, e) for n, e in zip(products, expected, strict=True))
    before = execute(graph, images)
    model.train()(images.flip(3) * 2)
    assert torch.equal(execute(graph, images), before)


def test_integers_are_for_one_number_of_keys() -> None:
    model, images = _awake(1, 4)
    deployed = ss.deploy(model, images, max_size=(16, 16))
    for size in ((8, 8), (16, 8)):
        with pytest.raises(UserError, match=r"other keys than the 16x16 .* deploy again"):
            deployed(images[..., : size[0], : size[1]])
    with pytest.raises(UserError, match="16x16"):
        deployed.export("never.onnx", (8, 8))


def test_only_the_classifier_multiplies() -> None:
    model, images = _awake(1, 4)
    found = audit(ss.deploy(model, images), images)
    assert found.offenders == ["head"]
    kinds = {layer.kind: layer.operations for layer in found.layers}
    assert kinds["current product"].accumulates > 0
    products = [layer for layer in ss.energy(model, images).layers if "product" in layer.kind]
    assert len(products) == 6
    assert all(layer.accumulates and not layer.multiplies for layer in products)


def test_each_spike_adds_the_current_of_every_key_or_channel() -> None:
    model, images = _awake(1, 2)
    deployed = ss.deploy(model, images)
    seen: dict[str, Tensor] = {}
    IntegerExecutor(deployed.graph).run(images, lambda node, y: seen.update({node.name: y}))
    by_name = {layer.name: layer for layer in audit(deployed, images).layers}
    for node in deployed.graph.nodes:
        if isinstance(node, integer.CurrentProduct):
            sums = seen[node.name].shape[1] // node.heads
            spikes = float(seen[node.inputs[1]].sum()) / len(images)
            assert by_name[node.name].operations.accumulates == spikes * sums


def test_few_bits_stay_exact_and_are_those_of_training() -> None:
    model, images = _awake(1, 4)
    quantized = ss.quantize(model, bits=4).train()
    quantized(images)
    deployed = ss.deploy(quantized.eval(), images)
    assert deployed.verify(images, against=("spikes", *NATIVE, "onnx")).equal
    bits = {n.name: n.bits for n in deployed.graph.nodes if isinstance(n, integer.Synapse)}
    assert max(bits[name] for name in bits if name.endswith((".key", ".value"))) <= 5


@pytest.mark.parametrize("neuron", ["lif", "ni_lif"])
def test_other_neurons_and_frames(neuron: str, tmp_path: Path) -> None:
    model = _nano(neuron=neuron, steps=2, widths=(8, 16, 16), heads=(1, 2, 2))
    frames = 2 * torch.randn(2, 2, 2, 16, 16)
    for _ in range(10):
        model.train()(frames)
    deployed = ss.deploy(model.eval(), frames)
    assert deployed.verify(frames, against=("spikes", *NATIVE, "onnx")).equal
    deployed.save(tmp_path / "net.spk")
    assert torch.equal(ss.Deployed.load(tmp_path / "net.spk")(frames), deployed(frames))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((2, "values"), "over is 'values'"), ((2, "keys", 0), "summands is 0")],
)
def test_arguments_of_a_product_that_mean_nothing_are_refused(
    arguments: tuple[Any, ...], named: str
) -> None:
    with pytest.raises(UserError, match=named):
        ss.CurrentProduct(*arguments)


class _Compares(nn.Module):
    """Keys of currents, compared with spikes, and whatever reads that."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.presentation = ss.Presentation(steps=1, channels=3, stride=1)
        self.stem, self.neuron = ss.ConvNorm(3, 8, 3), ss.create_neuron("i_lif")
        self.key, self.product = (
            ss.ConvNorm(8, 8, 4, stride=4, padding=0),
            ss.CurrentProduct(2, "channels"),
        )
        self.reader, self.pool, self.readout = reader, ss.GlobalPool(), ss.Readout(steps=1)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.stem(self.presentation(x)))
        product = self.product(self.key(spikes), spikes)
        y: Tensor = self.readout(self.pool(self.reader(product)))
        return y


@pytest.mark.parametrize("reader", [ss.ConvNorm(8, 4, 1), nn.Identity()])
def test_what_neurons_do_not_read_is_refused_by_name(reader: nn.Module) -> None:
    model, images = _Compares(reader).eval(), torch.randn(2, 3, 8, 8)
    ss.trace(model)
    with pytest.raises(UserError, match="product"):
        ss.deploy(model, images)


def test_a_fresh_head_has_no_bias_either() -> None:
    model = _nano()
    assert isinstance(model, ss.Classifier)
    model.reset_classifier(7)
    assert [tuple(p.shape) for p in model.head.parameters()] == [(7, 96)]
