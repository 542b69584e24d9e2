from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.graph import (
    Graph,
    Input,
    MaskProduct,
    Neuron,
    Output,
    Synapse,
    integer_vocabulary as integer,
)
from spikesight.graph.tracing import trace_parts
from spikesight.passes.quantization import packed_bytes
from spikesight.synapses import MembraneRectifier, QuantizedSynapse, RepConv, WeightQuantizer
from spikesight.training.config import ModelConfig, TrainConfig
from spikesight.training.runs.preparation import build_model
from tests.conftest import wake
from tests.registered_models import SMALL

IMAGE = (4, 3, 32, 32)
READS_THE_IMAGE = {
    "trunk.0.0",
    "trunk.0.0.conv",
    "trunk.0.0.entry.conv1",
    "trunk.0.0.lead.0.conv",
    "trunk.0.conv",
    "trunk.0.down",
    "trunk.trunk.0.0.conv",
}
# What says the last word, by family; "head" elsewhere.
ANSWERS = {
    "mask_rcnn": {
        "proposal_head.objectness",
        "proposal_head.deltas",
        *(f"pyramid.outputs.{level}.synapse" for level in range(3)),
    },
    "semantic_fpn": {"head.classes"},
    "spike_det": {
        f"heads.{level}.{output}"
        for level in range(3)
        for output in ("centre", "distances", "classes")
    },
    "spike2former": {"mask_embedding.classes", "pixel_decoder.mask_features"},
    "spike_fpn": {"head.classes"},
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"mprf": True, "neuron": "ie_lif"},
    {"layer_scale": 0.3},
    {"separable": "official"},
    {"rep_conv": "spike_driven", "mprf": True, "neuron": "ie_lif"},
    {"neuron": "ni_lif"},
    {"neuron": "lif", "steps": 2},
]

# Every small model that is registered; of the full sizes the same layers, narrowed.
FORMS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in SMALL),
    ("metaspikformer_tiny", {"rep_conv": "spike_driven"}),
    ("metaspikformer_15m", {"depths": (0, 1, 0, 0, 1), "widths": (8, 16, 16, 16, 24)}),
]


def _trained(bits: int, recipe: str, *, steps: int = 3, **options: Any) -> tuple[nn.Module, Tensor]:
    """A nano model that fires, quantised and trained for a few steps."""
    model = ss.create_model("metaspikformer_nano", num_classes=5, **options)
    x = torch.rand(IMAGE) * 3
    wake(model, x)
    ss.quantize(model, bits, recipe)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        assert _all_learn(model)
        optimizer.step()
    return model.eval(), x


def _all_learn(model: nn.Module) -> bool:
    learned = [p for p in model.parameters() if p.requires_grad]
    return all(p.grad is not None and p.grad.isfinite().all() for p in learned)


def _most_values(graph: Graph, *, skip: set[str]) -> int:
    return max(
        len(channel.unique())
        for node in graph.nodes
        if isinstance(node, Synapse) and node.name not in skip
        for factor in node.factors
        for channel in factor.weight.double().flatten(1)
    )


def _last(graph: Graph) -> set[str]:
    return {
        node.name
        for node in graph.nodes
        if isinstance(node, Synapse)
        and any(isinstance(reader, Output | MaskProduct) for reader in graph.consumers[node.name])
    }


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("name", "options"), FORMS, ids=str)
def test_a_folded_channel_has_at_most_2_to_the_bits_values(
    name: str, options: dict[str, Any], bits: int
) -> None:
    model = ss.create_model(name, num_classes=5, **options)
    wake(model, torch.rand(2, 3, 32, 32))
    ss.quantize(model, bits)
    graph, *heads = (ss.fold(graph) for graph in trace_parts(model).values())
    synapses = {node.name: node for node in graph.nodes if isinstance(node, Synapse)}
    first = {n for n, node in synapses.items() if isinstance(graph.by_name[node.inputs[0]], Input)}
    last = _last(graph)
    assert len(first) == 1
    assert first <= READS_THE_IMAGE
    assert {n.partition("#")[0] for n in last} == ANSWERS.get(name.rpartition("_")[0], {"head"})
    for head in heads:
        assert _most_values(head, skip=_last(head)) <= 2**bits
    assert _most_values(graph, skip=first | last) <= 2**bits
    assert _most_values(graph, skip=last) <= 2 ** max(bits, 7)
    assert _most_values(graph, skip=set()) <= 2**8


def test_weights_that_read_the_image_have_seven_bits_and_saved_ones_keep_their_eight(
    tmp_path: Path,
) -> None:
    stem = "trunk.0.0.conv"
    x = torch.rand(IMAGE) * 3
    for bits, folder in ((7, tmp_path / "new"), (8, tmp_path / "before")):
        model = ss.create_model("metaspikformer_nano", num_classes=5)
        wake(model, x)
        ss.quantize(model, 4, **({} if bits == 7 else {"image_bits": 8}))
        model.save_pretrained(folder)
        config = folder / "config.json"
        assert f'"image_bits": {bits}' in config.read_text()
        if bits == 8:  # Nothing said so before.
            described = json.loads(config.read_text())
            del described["quantization"]["image_bits"]
            config.write_text(json.dumps(described))
        loaded = ss.load(folder)
        assert torch.equal(loaded(x), model.eval()(x))
        loaded.save_pretrained(folder / "packed", packed=True)
        assert torch.equal(ss.load(folder / "packed")(x), model(x))
        synapse = ss.deploy(ss.load(folder / "packed"), x).graph.by_name[stem]
        assert isinstance(synapse, integer.Synapse)
        assert synapse.bits == bits
        assert (2 * 255 * int(synapse.weight.long().abs().max()) < 2**15) == (bits == 7)
    wanted = ModelConfig("metaspikformer_nano", weights=str(tmp_path / "before"), bits=4)
    model, _ = build_model(TrainConfig(wanted, output=str(tmp_path / "run")), 5, 3)
    assert model.recipe["quantization"]["image_bits"] == 8
    resumed, _ = build_model(
        TrainConfig(ModelConfig("metaspikformer_nano", bits=4), output=str(tmp_path / "run")),
        5,
        3,
        resumed=tmp_path / "before",
    )
    assert resumed.recipe["quantization"]["image_bits"] == 8


def test_neurons_inside_rep_conv_are_a_quarter_of_the_folded_kernel() -> None:
    """2 C^2 + 9 C weights instead of 9 C^2, and every one of them read by spikes."""
    nets = {}
    for form in ("official", "spike_driven"):
        model = ss.create_model("metaspikformer_tiny", num_classes=5, rep_conv=form)
        x = torch.rand(2, 3, 32, 32) * 3
        wake(model, x)
        nets[form] = ss.fold(ss.trace(model))
        if form == "spike_driven":
            assert ss.audit(ss.deploy(ss.quantize(model, 4), x), x).spike_driven
    channels, projections = 128, 8
    weights = {
        form: sum(
            factor.weight.numel()
            for node in graph.nodes
            if isinstance(node, Synapse) and ".attention." in node.name
            for factor in node.factors
        )
        for form, graph in nets.items()
    }
    assert weights["official"] == projections * 9 * channels**2
    assert weights["spike_driven"] == projections * (2 * channels**2 + 9 * channels)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_deploys_the_integers_of_training(options: dict[str, Any]) -> None:
    model, x = _trained(4, "deployable", **options)
    graph = ss.fold(ss.trace(model.double()))
    net = ss.deploy(model, x)
    report = net.verify(x, against=("spikes",))
    assert report.equal, report.table()
    assert report.silent == []
    synapses = {n.name: n for n in net.graph.nodes if isinstance(n, integer.Synapse)}
    assert {n.bits for name, n in synapses.items() if name not in ("trunk.0.0.conv", "head")} <= {
        2,
        3,
        4,
    }
    for node in graph.nodes:
        if isinstance(node, Synapse):
            factor = node.factors[-1]
            assert factor.step is not None
            step = factor.step.view(-1, *[1] * (factor.weight.ndim - 1))
            error = (synapses[node.name].weight * step - factor.weight).abs().max()
            assert error <= 1e-12 * factor.weight.abs().max()


@pytest.mark.parametrize("recipe", ["deployable", "official"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_spikformer_learns_in_few_bits_and_deploys(bits: int, recipe: str) -> None:
    """QSD-Transformer's table 5: Spikformer with IE-LIF at 4, 3 and 2 bits."""
    model = ss.create_model("spikformer_nano", num_classes=5, neuron="ie_lif", mprf=True)
    x = torch.rand(IMAGE) * 3
    wake(model, x)
    ss.quantize(model, bits, recipe).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(model(x), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        assert _all_learn(model)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    net = ss.deploy(model.eval().double(), x)
    report = net.verify(x)
    assert report.equal, report.table()
    assert report.silent == []
    inner = {n.bits for n in net.graph.nodes if isinstance(n, integer.Synapse)}
    assert bits in inner or recipe == "official"


def test_a_4_bit_network_is_spike_driven_and_small(tmp_path: Path) -> None:
    model, x = _trained(4, "deployable")
    net = ss.deploy(model, x)
    assert ss.audit(net, x).spike_driven
    net.save(tmp_path / "four.spk")
    torch.manual_seed(0)
    plain = ss.create_model("metaspikformer_nano", num_classes=5)
    ss.deploy(wake(plain, x), x).save(tmp_path / "eight.spk")
    sizes = [(tmp_path / f"{name}.spk").stat().st_size for name in ("four", "eight")]
    assert sizes[0] < 0.65 * sizes[1]
    assert torch.equal(ss.Deployed.load(tmp_path / "four.spk")(x), net(x))


def test_steps_onto_the_stream_are_powers_of_two() -> None:
    for power_of_two in (False, True):
        model = ss.create_model("metaspikformer_nano", layer_scale=0.3)
        ss.quantize(model, 4, power_of_two=power_of_two)
        graph = ss.fold(ss.trace(model))
        for node in graph.nodes:
            if isinstance(node, Synapse):
                (factor,) = node.factors
                assert factor.step is not None
                mantissa, _ = torch.frexp(factor.step)
                onto_neuron = all(isinstance(n, Neuron) for n in graph.consumers[node.name])
                if power_of_two or not onto_neuron:
                    assert (mantissa == 0.5).all(), node.name


@pytest.mark.parametrize("recipe", ["deployable", "official"])
def test_evaluation_is_the_graph(recipe: str) -> None:
    model, x = _trained(4, recipe, mprf=True)
    model.double()
    x = x.double()
    expected = ss.graph.execute(ss.trace(model), x)
    torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)


def test_the_rectifier_folds_into_the_kernel() -> None:
    model, _ = _trained(4, "deployable", mprf=True, neuron="ie_lif")
    assert sum(isinstance(m, MembraneRectifier) for m in model.modules()) == 6
    node = ss.fold(ss.trace(model)).by_name["trunk.3.1.attention.query"]
    assert isinstance(node, Synapse)
    assert len(node.factors) == 1


@pytest.mark.parametrize("recipe", ["deployable", "official"])
def test_a_fresh_model_is_finite_and_comes_back(recipe: str, tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5)
    names = set(model.state_dict())
    assert ss.quantize(model, 3, recipe, power_of_two=True) is model
    assert names <= set(model.state_dict())
    x = torch.rand(IMAGE)
    assert model.eval()(x).isfinite().all()
    model.save_pretrained(tmp_path)
    assert torch.equal(ss.load(tmp_path)(x), model(x))


def test_a_configuration_trains_from_plain_weights(tmp_path: Path) -> None:
    plain = ss.create_model("metaspikformer_nano", num_classes=5)
    plain.save_pretrained(tmp_path)
    wanted = ModelConfig("metaspikformer_nano", weights=str(tmp_path), bits=4, power_of_two=True)
    model, fresh = build_model(TrainConfig(wanted, output=str(tmp_path / "run")), 5, 3)
    assert fresh == []
    assert model.recipe["quantization"] == {
        "bits": 4,
        "recipe": "deployable",
        "power_of_two": True,
        "image_bits": 7,
    }
    assert torch.equal(model.head.linear.weight, plain.head.linear.weight)
    with pytest.raises(ValueError, match=r"model\.bits is 1"):
        ModelConfig("metaspikformer_nano", bits=1)


def test_running_statistics_become_the_batch_s() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5)
    x = torch.rand(IMAGE) * 3
    wake(model, x)
    ss.quantize(model, 8)
    synapse = model.get_submodule("trunk.1.1.mixer.expand")
    assert isinstance(synapse, QuantizedSynapse)
    spikes = torch.randint(0, 5, (32, 32, 8, 8)).float()
    for _ in range(20):
        trained = synapse.train()(spikes)
    # A weight at the edge of two integers may change sides with every update of the statistics.
    assert (synapse.eval()(spikes) - trained).abs().mean() < 0.01


def test_no_constant_current_is_left_before_a_normalisation() -> None:
    torch.manual_seed(0)
    synapse = RepConv(8, 12).train()
    nn.init.normal_(synapse.border.norm.bias)
    spikes = torch.randint(0, 5, (16, 8, 6, 6)).float()
    for _ in range(50):
        synapse(spikes)
    plain = synapse.eval()(spikes)
    quantized = QuantizedSynapse(synapse, 8, None).eval()
    assert (quantized(spikes) - plain).abs().mean() < 0.02
    followed = quantized.inner_norm.running_mean * 0.9
    quantized.train()(torch.zeros_like(spikes))
    torch.testing.assert_close(quantized.inner_norm.running_mean, followed)
    assert not quantized.border.norm.bias.requires_grad


@pytest.mark.parametrize("recipe", ["deployable", "official"])
def test_compiled_and_autocast_training(recipe: str) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5, depths=(0, 0, 0, 0, 1))
    ss.quantize(model, 4, recipe)
    model.train()
    x = torch.rand(IMAGE)
    with torch.autocast("cpu", torch.bfloat16):
        model(x).float().square().sum().backward()
    assert _all_learn(model)
    synapse = model.get_submodule("trunk.4.1.attention.query").double().eval()
    x = torch.randint(0, 5, (2, 64, 4, 4)).double()
    compiled = torch.compile(synapse, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), synapse(x))


def test_mistakes_are_named() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5)
    with pytest.raises(ValueError, match="bits is 1"):
        ss.quantize(model, 1)
    with pytest.raises(ValueError, match="recipe is 'best'"):
        ss.quantize(model, 4, "best")
    thirds = ss.create_model("metaspikformer_nano", neuron="ni_lif", levels=3)
    with pytest.raises(ValueError, match="levels of 1, 2, 4 or 8"):
        ss.quantize(thirds, 4)
    assert not any(isinstance(m, QuantizedSynapse) for m in thirds.modules())
    with torch.no_grad():
        model.head.linear.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"head\.linear\.weight is not finite"):
        ss.quantize(model, 4)
    with torch.no_grad():
        model.head.linear.weight.zero_()
    with pytest.raises(ValueError, match="quantised already"):
        ss.quantize(ss.quantize(model, 4), 4)


def test_steps_stay_positive() -> None:
    quantizer = WeightQuantizer(torch.zeros(3, 4), bits=2)
    assert (quantizer.step() > 0).all()
    with torch.no_grad():
        quantizer.scale.copy_(torch.tensor([-0.5, 0.0, 2.0]))
    assert quantizer.step()[0] == 0.5
    assert (quantizer.step() > 0).all()
    assert quantizer(torch.randn(3, 4)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"official": True}, r'mask_embedding\.neuron\.shift .* query_gate="neuron"'),
        (
            {"mask_embedding": "me_shortcut_without_conv"},
            r'mask_embedding\.shortcut starts with a BatchNorm2d .*mask_embedding="me_shortcut"',
        ),
    ],
    ids=str,
)
def test_a_segmenter_that_has_no_form_stays_as_it_was(options: dict[str, Any], remedy: str) -> None:
    model = ss.create_model("spike2former_nano", num_classes=5, **options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules = list(model.modules())
    for use in (ss.quantize, packed_bytes):
        with pytest.raises(ValueError, match=remedy):
            use(model, 4)
    assert list(model.modules()) == modules
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    ss.trace(ss.quantize(model, 4, "official"))


def test_statistics_that_are_not_finite_are_named_before_anything_changes() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5)
    name, variance = [(n, b) for n, b in model.named_buffers() if n.endswith("running_var")][-1]
    variance.fill_(float("nan"))
    with pytest.raises(ValueError, match=f"{name} is not finite"):
        ss.quantize(model, 4)
    variance.fill_(1.0)
    ss.quantize(model, 4)
