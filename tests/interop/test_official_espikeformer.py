from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.interop.espikeformer import tensor_names
from spikesight.interop.filling import rename
from tests.conftest import ReadOracle
from tests.interop.test_official_metaspikformer import relative_error

CASES = [
    "attention_linear_c16_h4",
    "large_attention_c16_h4",
    "large171_e8_12_16_h4",
    "base_e8_8_16_24_h4_64x48",
]
EXACT = 1e-9
NEURONS = {
    "base.MultiSpike_D4": ("espikeformer", 4),
    "base.MultiSpike_D4_Norm1_head": ("espikeformer_head", 4),
    "base.MultiSpike_D8": ("espikeformer", 8),
    "large.Multispike_T4": ("espikeformer_large", 4),
    "large.Multispike_norm1_head": ("espikeformer_large_head", 4),
}


class Oracle:
    def __init__(self, files: dict[str, Any]) -> None:
        self.meta, self.state = files["meta"], files["state_dict"]
        self.io, self.spikes, self.train = files["io"], files["spikes"], files["train"]

    def model(self) -> nn.Module:
        heads = self.meta["kw"]["num_heads"]
        model: nn.Module = ss.load_official("espikeformer", self.state, num_heads=heads)
        return model

    def input(self) -> Tensor:
        x: Tensor = self.io["x"].double()
        return x.requires_grad_()


@pytest.fixture(params=CASES)
def oracle(request: pytest.FixtureRequest, read_oracle: ReadOracle) -> Oracle:
    return Oracle(read_oracle("espikeformer", request.param))


def test_outputs_gradients_and_every_spike_match_the_authors(oracle: Oracle) -> None:
    model = oracle.model()
    counts: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, ss.neurons.Neuron):
            module.register_forward_hook(
                lambda neuron, _, output: counts.append(output.detach() / neuron.unit)
            )
    x = oracle.input()
    output = model(x)
    (output * oracle.io["cot"]).sum().backward()
    assert relative_error(output, oracle.io["y_eval"]) < EXACT
    assert x.grad is not None
    assert relative_error(x.grad, oracle.io["gx_eval"]) < EXACT
    assert len(counts) == len(oracle.spikes)
    for ours, (name, theirs) in zip(counts, oracle.spikes.items(), strict=True):
        assert torch.equal(ours, theirs.view_as(ours).to(ours)), name
        assert ours.any(), name


def test_training_matches_the_authors(oracle: Oracle) -> None:
    model = oracle.model().train()
    x = oracle.input()
    output = model(x)
    if "target" not in oracle.train:
        loss = (output * oracle.io["cot"]).sum()
    else:
        heads = output if isinstance(output, tuple) else (output,)
        target = oracle.train["target"]
        loss = torch.stack([nn.functional.cross_entropy(head, target) for head in heads]).sum()
    loss.backward()
    expected = oracle.train["y_train"]
    if not isinstance(output, tuple):
        output, expected = (output,), (expected,)
    for ours, theirs in zip(output, expected, strict=True):
        assert relative_error(ours, theirs) < EXACT
    assert relative_error(loss, oracle.train["loss"]) < EXACT
    if "gx" in oracle.train:
        assert x.grad is not None
        assert relative_error(x.grad, oracle.train["gx"]) < EXACT
    names, part = tensor_names(oracle.state), getattr(model, "part", model)
    parameters = dict(part.named_parameters())
    gradients = rename(oracle.train["grads"], names)
    scale = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, theirs in gradients.items():
        ours = parameters[name].grad
        assert ours is not None, name
        difference = float((ours.view_as(theirs) - theirs).abs().max())
        # A bias before a normalisation has a gradient of zero but for rounding.
        assert difference < EXACT * max(float(theirs.abs().max()), 1e-6 * scale), name
    buffers = dict(part.named_buffers())
    for name, theirs in rename(oracle.train["buffers_after"], names).items():
        assert relative_error(buffers[name].double(), theirs.double()) < EXACT


@pytest.mark.parametrize("official", NEURONS)
def test_neurons_match_the_authors_at_ties_too(official: str, read_oracle: ReadOracle) -> None:
    case = read_oracle("espikeformer", "neurons")
    name, levels = NEURONS[official]
    x = case["x"].double().requires_grad_()
    spikes = ss.create_neuron(name, levels=levels)(x)
    spikes.backward(case["cot"].double())
    assert torch.equal(spikes, case[official]["y"].double())
    assert x.grad is not None
    assert torch.equal(x.grad, case[official]["gx"].double())


@pytest.mark.parametrize(
    ("widths", "parameters"),
    [((98, 196, 384, 768), 171_740_714), ((96, 192, 384, 768), 171_579_824)],
)
def test_both_stems_of_the_largest_have_two_heads(widths: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        model = ss.create_model("espikeformer_171m", widths=widths, head="both")
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_neurons_of_a_large_network_keep_nothing_between_time_steps(
    read_oracle: ReadOracle,
) -> None:
    oracle = Oracle(read_oracle("espikeformer", "large171_e8_12_16_h4"))
    x = oracle.input()
    frames = torch.stack([x, x.flip(0)], 1)
    model = ss.load_official("espikeformer", oracle.state, num_heads=4, steps=2)
    with torch.no_grad():
        assert relative_error(model(x), oracle.io["y_eval"]) < EXACT
        mean = (oracle.io["y_eval"] + oracle.io["y_eval"].flip(0)) / 2
        assert relative_error(model(frames), mean) < EXACT


def test_one_of_two_heads_can_be_taken(read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("espikeformer", "large171_e8_12_16_h4"))
    x = oracle.input()
    of_counts, of_currents = (
        ss.load_official("espikeformer", oracle.state, num_heads=4, head=head)(x)
        for head in ("counts", "currents")
    )
    assert relative_error((of_counts + of_currents) / 2, oracle.io["y_eval"]) < EXACT
    with pytest.raises(ss.errors.UserError, match="with head='counts'"):
        ss.trace(oracle.model())
    single = {name: value for name, value in oracle.state.items() if "head_kd" not in name}
    with pytest.raises(ss.errors.UserError, match="no head_kd"):
        ss.load_official("espikeformer", single, num_heads=4, head="counts")


def test_blocks_of_the_83m_network_begin_with_a_rep_conv() -> None:
    model = ss.create_model(
        "espikeformer_83m", num_classes=5, widths=(4, 8, 8, 16), depths=(1, 1, 2, 2), heads=4
    )
    official = {"block3.0.rep_conv.conv1.0.weight": torch.empty(0)}
    groups = ("ConvBlock1_1", "ConvBlock1_2", "ConvBlock2_1", "ConvBlock2_2", "block3")
    blocks = {f"{group}.0.conv1.0.0.weight": torch.empty(0) for group in groups}
    downs = {f"downsample{d}.encode_conv.weight": torch.empty(0) for d in ("1_1", "1_2", "2", "3")}
    attention = {f"block3.{i}.attn.q_conv.0.conv1.0.weight": torch.empty(0) for i in (0, 1)}
    heads = {"head.weight": torch.empty(0)}
    names = tensor_names({**official, **blocks, **downs, **attention, **heads})
    state = rename(model.state_dict(), {ours: theirs for theirs, ours in names.items()})
    assert "block3.1.rep_conv.conv2.1.running_var" in state
    loaded = ss.load_official("espikeformer", state, num_heads=4, neuron="i_lif", levels=4)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(images), model.eval()(images))
