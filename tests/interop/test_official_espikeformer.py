from __future__ import annotations

import pytest
import torch
from torch import nn

import spikesight as ss
from spikesight.interop.espikeformer import tensor_names
from spikesight.interop.filling import rename
from tests.conftest import ReadOracle
from tests.interop.released_modules import (
    EXACT,
    Oracle,
    check_evaluation,
    check_training,
    their_names,
)
from tests.interop.test_official_metaspikformer import relative_error

CASES = [
    "attention_linear_c16_h4",
    "large_attention_c16_h4",
    "large171_e8_12_16_h4",
    "base_e8_8_16_24_h4_64x48",
]
NEURONS = {
    "base.MultiSpike_D4": ("espikeformer", 4),
    "base.MultiSpike_D4_Norm1_head": ("espikeformer_head", 4),
    "base.MultiSpike_D8": ("espikeformer", 8),
    "large.Multispike_T4": ("espikeformer_large", 4),
    "large.Multispike_norm1_head": ("espikeformer_large_head", 4),
}


def load(oracle: Oracle) -> nn.Module:
    heads = oracle["meta"]["kw"]["num_heads"]
    model: nn.Module = ss.load_official("espikeformer", oracle["state_dict"], num_heads=heads)
    return model


@pytest.fixture(params=CASES)
def oracle(request: pytest.FixtureRequest, read_oracle: ReadOracle) -> Oracle:
    return read_oracle("espikeformer", request.param)


def test_outputs_gradients_and_every_spike_match_the_authors(oracle: Oracle) -> None:
    model = load(oracle)
    ours = [name for name, part in model.named_modules() if isinstance(part, ss.neurons.Neuron)]
    check_evaluation(model, oracle, dict(zip(ours, oracle["spikes"], strict=True)))


def test_training_matches_the_authors(oracle: Oracle) -> None:
    model = load(oracle)
    prefix = "part." if hasattr(model, "part") else ""
    names = their_names(oracle["state_dict"], tensor_names(oracle["state_dict"]))
    check_training(model, oracle, {prefix + ours: theirs for ours, theirs in names.items()})


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
    oracle = read_oracle("espikeformer", "large171_e8_12_16_h4")
    x = oracle["io"]["x"].double()
    frames = torch.stack([x, x.flip(0)], 1)
    model = ss.load_official("espikeformer", oracle["state_dict"], num_heads=4, steps=2)
    with torch.no_grad():
        assert relative_error(model(x), oracle["io"]["y_eval"]) < EXACT
        mean = (oracle["io"]["y_eval"] + oracle["io"]["y_eval"].flip(0)) / 2
        assert relative_error(model(frames), mean) < EXACT


def test_one_of_two_heads_can_be_taken(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("espikeformer", "large171_e8_12_16_h4")
    x = oracle["io"]["x"].double()
    of_counts, of_currents = (
        ss.load_official("espikeformer", oracle["state_dict"], num_heads=4, head=head)(x)
        for head in ("counts", "currents")
    )
    assert relative_error((of_counts + of_currents) / 2, oracle["io"]["y_eval"]) < EXACT
    with pytest.raises(ss.errors.UserError, match="with head='counts'"):
        ss.trace(load(oracle))
    single = {name: value for name, value in oracle["state_dict"].items() if "head_kd" not in name}
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
