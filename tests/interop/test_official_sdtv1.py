from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.interop.official_layouts import OfficialBlock
from spikesight.interop.sdtv1 import _ATTENTION, released_names
from spikesight.neurons import LIF
from tests.conftest import ReadOracle
from tests.interop.released_modules import (
    check_evaluation,
    check_training,
    neuron_names,
    their_names,
)

CASES = [
    "attention_c16_h4_T4",
    "attention_dvs_c16_h2_T3",
    "cifar_e32_h4_d2_T4",
    "imagenet_e32_h2_d2_T3_64x48",
]
WHOLE = [case for case in CASES if not case.startswith("attention")]


def _load(oracle: dict[str, Any], **changes: Any) -> nn.Module:
    said = oracle["meta"]["kw"]
    options = {"num_heads": said["num_heads"], "steps": oracle["meta"]["T"]}
    if "pooling_stat" in said:
        options["strides"] = tuple(1 + int(digit) for digit in said["pooling_stat"])
    if said.get("dvs"):
        options["official"] = "channel_pools"
    model: nn.Module = ss.load_official("sdtv1", oracle["state_dict"], **options | changes)
    return model


def _names(oracle: dict[str, Any]) -> dict[str, str]:
    return (
        released_names(oracle["state_dict"])
        if "head.weight" in oracle["state_dict"]
        else {theirs: f"part.{ours}" for theirs, ours in _ATTENTION.items()}
    )


@pytest.mark.filterwarnings("ignore:official='channel_pools'")
@pytest.mark.parametrize("case", CASES)
def test_outputs_gradients_and_every_spike_match_the_authors(
    case: str, read_oracle: ReadOracle
) -> None:
    oracle = read_oracle("sdtv1", case)
    names = _names(oracle)
    model = _load(oracle)
    unread = oracle["meta"]["n_params_unused"]
    assert sum(p.numel() for p in model.parameters()) == oracle["meta"]["n_params"] - unread
    check_evaluation(model, oracle, neuron_names(list(oracle["spikes"]), names))
    state = {n: t for n, t in oracle["state_dict"].items() if "talking_heads" not in n}
    check_training(_load(oracle), oracle, their_names(state, names))


@pytest.mark.parametrize("case", WHOLE)
def test_the_released_forms_deploy_and_keep_samples_apart(
    case: str, read_oracle: ReadOracle, tmp_path: Path
) -> None:
    oracle = read_oracle("sdtv1", case)
    model, x = _load(oracle), oracle["io"]["x"].double()
    with torch.no_grad():
        alone = torch.cat([model(one) for one in x.split(1)])
        torch.testing.assert_close(alone, model(x), rtol=1e-12, atol=1e-12)
    report = ss.deploy(model, x).verify(x)
    assert report.equal, report.table()
    assert report.silent == []
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(ss.load(tmp_path, dtype=torch.float64)(x), model(x))


def _reference_attention(state: dict[str, Tensor], x: Tensor, heads: int | None) -> Tensor:
    """The authors' attention with maxima, step by step; over space where there are no heads."""

    def synapse(name: str, value: Tensor) -> Tensor:
        bias = state.get(f"{name}_conv.bias")
        value = nn.functional.conv2d(value, state[f"{name}_conv.weight"], bias)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return nn.functional.batch_norm(value, *(state[f"{name}_bn.{leaf}"] for leaf in leaves))

    membranes: dict[str, Tensor] = {}

    def fire(name: str, current: Tensor, threshold: float = 1.0) -> Tensor:
        potential = membranes.get(name, torch.zeros_like(current))
        potential = potential + (current - potential) / 2
        spikes = (potential >= threshold).double()
        membranes[name] = potential * (1 - spikes)
        return spikes

    def over_space(value: Tensor) -> Tensor:
        return nn.functional.max_pool2d(value, 3, 1, 1)

    def pool(value: Tensor) -> Tensor:
        if heads is None:
            return over_space(value)
        batch, channels, height, width = value.shape
        tokens = value.view(batch, heads, channels // heads, height * width).mT
        return over_space(tokens).mT.reshape(value.shape)

    outputs = []
    for current in x:
        u = fire("u", current)
        q = fire("q", synapse("q", u))
        k, v = (over_space(fire(name, synapse(name, u))) for name in "kv")
        mask = fire("mask", pool(k * v).sum((2, 3), keepdim=True), 0.5)
        outputs.append(current + synapse("proj", pool(q * mask)))
    return torch.stack(outputs)


def test_events_are_pooled_over_space_unless_the_slip_is_asked_for(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("sdtv1", "attention_dvs_c16_h2_T3")
    x = oracle["io"]["x"].double()
    right = _load(oracle, official=None, attention_pools=True)
    with pytest.warns(UserWarning, match="neighbouring channels"):
        released = _load(oracle)
    with torch.no_grad():
        for model, heads in ((right, None), (released, 2)):
            expected = _reference_attention(oracle["state_dict"], x, heads)
            torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
        assert not torch.allclose(right(x), released(x))


def test_neurons_that_learned_their_decay_are_known_by_it(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("sdtv1", "attention_c16_h4_T4")
    names = [*oracle["spikes"], "attn_lif"]
    x = oracle["io"]["x"].double()
    # 1 / tau is the sigmoid of w: 0 is tau = 2.
    for w, same in ((0.0, True), (1.0, False)):
        learned = {f"{name}.w": torch.tensor(w, dtype=torch.float64) for name in names}
        state = {**oracle["state_dict"], **learned}
        model = ss.load_official("sdtv1", state, steps=4)
        decays = [m.decay for m in model.modules() if isinstance(m, LIF) and m.decay is not None]
        assert [float(decay.detach()) for decay in decays] == [w] * 5
        with torch.no_grad():
            assert torch.allclose(model(x), oracle["io"]["y_eval"], atol=1e-12) == same


def test_the_neuron_of_the_stem_that_nothing_calls_is_left_out(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("sdtv1", WHOLE[0])
    names = [*oracle["spikes"], "patch_embed.rpe_lif", "block.0.attn.attn_lif"]
    learned = {f"{name}.w": torch.zeros((), dtype=torch.float64) for name in names}
    plif = {**oracle, "state_dict": {**oracle["state_dict"], **learned}}
    with torch.no_grad():
        logits = _load(plif)(oracle["io"]["x"].double())
    assert torch.allclose(logits, oracle["io"]["y_eval"], atol=1e-12)


def test_counts_of_batches_may_be_missing(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("sdtv1", WHOLE[0])
    state = {n: t for n, t in oracle["state_dict"].items() if "num_batches_tracked" not in n}
    with torch.no_grad():
        logits = _load({**oracle, "state_dict": state})(oracle["io"]["x"].double())
    assert torch.allclose(logits, oracle["io"]["y_eval"], atol=1e-12)


def test_what_is_not_of_the_family_is_refused(read_oracle: ReadOracle) -> None:
    state = read_oracle("sdtv1", WHOLE[0])["state_dict"]
    short = {n: t for n, t in state.items() if n != "block.0.mlp.fc2_bn.bias"}
    with pytest.raises(ValueError, match=r"mlp\.project\.norm\.bias"):
        ss.load_official("sdtv1", short)
    with pytest.raises(ValueError, match="strange"):
        ss.load_official("sdtv1", {**state, "strange": torch.zeros(1)})
    with pytest.raises(ValueError, match="pooling_stat"):
        ss.load_official("sdtv1", state, strides=(2, 2))
    with pytest.raises(ValueError, match="not SDT-V1's"):
        ss.load_official("sdtv1", {"layer1.weight": torch.zeros(3, 3)})


def test_a_parts_layout_is_the_authors(read_oracle: ReadOracle) -> None:
    assert isinstance(_load(read_oracle("sdtv1", CASES[0])), OfficialBlock)
