from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.interop.qkformer import ATTENTION, released_names
from tests.conftest import ReadOracle
from tests.interop.released_modules import (
    check_evaluation,
    check_training,
    neuron_names,
    their_names,
)

WHOLE = "imagenet_e32_h2_d5_T4_48"
ATTENTIONS = ["ssa_c16_h4_T4_fixed_b2", "ssa_c16_h4_T4_released_b1", "token_qk_c16_h4_T4"]
RIGHT = [f"{WHOLE}_fixed_b2", f"{WHOLE}_released_b1", *ATTENTIONS]
LEAKING = [f"{WHOLE}_released_b2", "ssa_c16_h4_T4_released_b2"]


@pytest.fixture
def read_case(read_oracle: ReadOracle) -> Any:
    """Reads a case, whose state dict may be another's."""

    def read(case: str) -> dict[str, Any]:
        oracle = read_oracle("qkformer", case)
        if (other := oracle["meta"].get("state_dict_of")) is not None:
            oracle["state_dict"] = read_oracle("qkformer", other)["state_dict"]
        return oracle

    return read


def _load(oracle: dict[str, Any], **options: Any) -> nn.Module:
    meta = oracle["meta"]
    heads, steps = meta["kw"]["num_heads"], meta["T"]
    state = oracle["state_dict"]
    model: nn.Module = ss.load_official("qkformer", state, num_heads=heads, steps=steps, **options)
    return model


def _names(oracle: dict[str, Any], *, leaking: bool = False) -> dict[str, str]:
    if "head.weight" in oracle["state_dict"]:
        names = released_names(oracle["state_dict"])
    else:
        names = {theirs: f"part.{ours}" for theirs, ours in ATTENTION.items()}
    if not leaking:
        return names
    last = (".attn.proj_lif", ".ssa.proj_lif") if "head" in names else ("proj_lif",)
    return {t: f"{ours}.neuron" if t.endswith(last) else ours for t, ours in names.items()}


def _compare(oracle: dict[str, Any], names: dict[str, str], **options: Any) -> None:
    model = _load(oracle, **options)
    assert sum(p.numel() for p in model.parameters()) == oracle["meta"]["n_params"]
    neurons = neuron_names(list(oracle["spikes"]), names)
    # The last neuron of self-attention saw time and batch as one.
    steps = oracle["meta"]["T"]

    def as_seen(name: str, spikes: Tensor) -> Tensor:
        return spikes.flatten(0, 1) if len(spikes) == steps and spikes.ndim > 3 else spikes

    check_evaluation(model, oracle, neurons, as_seen)
    check_training(_load(oracle, **options), oracle, their_names(oracle["state_dict"], names))


@pytest.mark.parametrize("case", RIGHT)
def test_outputs_gradients_and_every_spike_match_the_corrected_code(
    case: str, read_case: Any
) -> None:
    oracle = read_case(case)
    _compare(oracle, _names(oracle))


@pytest.mark.parametrize("case", LEAKING)
def test_the_released_leak_is_reproduced_with_a_warning(case: str, read_case: Any) -> None:
    oracle = read_case(case)
    with pytest.warns(UserWarning, match="leak into each other"):
        _compare(oracle, _names(oracle, leaking=True), official="leaking")


@pytest.mark.filterwarnings("ignore:official='leaking'")
def test_batch_mates_change_nothing_but_the_leaking_model(read_case: Any) -> None:
    oracle = read_case(f"{WHOLE}_fixed_b2")
    x = oracle["io"]["x"].double()
    right, leaking = _load(oracle), _load(oracle, official="leaking")
    with torch.no_grad():
        together = right(x)
        torch.testing.assert_close(right(x.flip(0)).flip(0), together, rtol=0, atol=1e-12)
        alone = torch.cat([right(one) for one in x.split(1)])
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-12)
        torch.testing.assert_close(leaking(x[:1]), together[:1], rtol=0, atol=1e-12)
        assert float((leaking(x) - together).abs().max()) > 0.1
        assert float((leaking(x.flip(0)).flip(0) - leaking(x)).abs().max()) > 0.1
    with pytest.raises(ValueError, match="build the model without it"):
        ss.trace(leaking)


def test_the_released_form_deploys_and_is_saved(read_case: Any, tmp_path: Path) -> None:
    oracle = read_case(f"{WHOLE}_fixed_b2")
    model, x = _load(oracle), oracle["io"]["x"].double()
    report = ss.deploy(model, x).verify(x)
    assert report.equal, report.table()
    assert report.silent == []
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(ss.load(tmp_path, dtype=torch.float64)(x), model(x))


def _released_names_and_shapes(form: str) -> dict[str, Tensor]:
    """Random tensors by the names and shapes of the CIFAR and event modules."""
    generator = torch.Generator().manual_seed(3)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int, bias: bool = False) -> None:
        scale = (2.0 / torch.Size(shape[1:]).numel()) ** 0.5
        state[f"{name}_conv.weight"] = torch.randn(shape, generator=generator).double() * scale
        if bias:
            state[f"{name}_conv.bias"] = torch.zeros(shape[0]).double()
        for leaf, low, high in (
            ("weight", 1.5, 2.5),
            ("bias", 0.0, 1.0),
            ("running_mean", -0.1, 0.1),
            ("running_var", 0.5, 1.0),
        ):
            span = torch.rand(shape[0], generator=generator).double() * (high - low)
            state[f"{name}_bn.{leaf}"] = span + low
        state[f"{name}_bn.num_batches_tracked"] = torch.tensor(7)

    def block(name: str, attention: str, width: int, hidden: int) -> None:
        for short in ("q", "k") if attention == "tssa" else ("q", "k", "v"):
            add(f"{name}.{attention}.{short}", width, width, 1)
        add(f"{name}.{attention}.proj", width, width, 1, bias=True)
        add(f"{name}.mlp.mlp1", hidden, width, 1, 1, bias=True)
        add(f"{name}.mlp.mlp2", width, hidden, 1, 1, bias=True)

    if form == "cifar":
        add("patch_embed1.proj", 8, 3, 3, 3)
        add("patch_embed1.proj1", 16, 8, 3, 3)
        add("patch_embed1.proj_res", 16, 8, 1, 1)
        block("stage1.0", "tssa", 16, 64)
        for stage, width in ((2, 32), (3, 64)):
            add(f"patch_embed{stage}.proj3", width, width // 2, 3, 3)
            add(f"patch_embed{stage}.proj4", width, width, 3, 3)
            add(f"patch_embed{stage}.proj_res", width, width // 2, 1, 1)
        block("stage2.0", "tssa", 32, 128)
        block("stage3.0", "ssa", 64, 256)
        block("stage3.1", "ssa", 64, 256)
    else:
        widths = (2, 4, 8, 16, 32)
        for number, (before, after) in enumerate(pairwise(widths)):
            add(f"patch_embed1.proj{number or ''}", after, before, 3, 3)
        add("patch_embed1.proj_res", 32, 8, 1, 1)
        block("stage1.0", "tssa", 32, 32)
        add("patch_embed2.proj", 64, 32, 3, 3)
        add("patch_embed2.proj4", 64, 64, 3, 3)
        add("patch_embed2.proj_res", 64, 32, 1, 1)
        block("stage2.0", "ssa", 64, 64)
    state["head.weight"] = torch.randn((6, 64), generator=generator).double()
    state["head.bias"] = torch.randn(6, generator=generator).double()
    return state


def _released_logits(state: dict[str, Tensor], frames: Tensor, form: str, heads: int) -> Tensor:
    """The corrected CIFAR and event modules, time step by time step."""
    membranes: dict[str, Tensor] = {}

    def fire(name: str, current: Tensor, threshold: float = 1.0) -> Tensor:
        potential = membranes.get(name, torch.zeros_like(current))
        potential = potential + (current - potential) / 2
        spikes = (potential >= threshold).double()
        membranes[name] = potential * (1 - spikes)
        return spikes

    def spike(name: str, value: Tensor, *, stride: int = 1, pools: bool = False) -> Tensor:
        weight = state[f"{name}_conv.weight"]
        weight = weight.reshape(*weight.shape[:2], weight.shape[-1], -1)
        bias, padding = state.get(f"{name}_conv.bias"), weight.shape[-1] // 2
        value = nn.functional.conv2d(value, weight, bias, stride, padding)
        leaves = ("running_mean", "running_var", "weight", "bias")
        value = nn.functional.batch_norm(value, *(state[f"{name}_bn.{leaf}"] for leaf in leaves))
        return fire(name, nn.functional.max_pool2d(value, 3, 2, 1) if pools else value)

    def attend(name: str, x: Tensor) -> Tensor:
        q, k = (spike(f"{name}.{short}", x).unflatten(1, (heads, -1)) for short in "qk")
        if name.endswith("tssa"):
            attended = fire(f"{name}.attn", q.sum(2, keepdim=True), 0.5) * k
        else:
            v = spike(f"{name}.v", x).unflatten(1, (heads, -1))
            product = (v.flatten(3) @ k.flatten(3).mT) @ q.flatten(3) * 0.125
            attended = fire(f"{name}.attn", product.reshape(v.shape), 0.5)
        return spike(f"{name}.proj", attended.reshape(x.shape))

    def block(name: str, attention: str, x: Tensor) -> Tensor:
        x = x + attend(f"{name}.{attention}", x)
        return x + spike(f"{name}.mlp.mlp2", spike(f"{name}.mlp.mlp1", x))

    def embed(name: str, first: str, x: Tensor) -> Tensor:
        main = spike(f"{name}.proj4", spike(f"{name}.{first}", x), pools=True)
        return main + spike(f"{name}.proj_res", x, stride=2)

    features = []
    for x in frames:
        if form == "cifar":
            a = spike("patch_embed1.proj", x)
            x = spike("patch_embed1.proj1", a) + spike("patch_embed1.proj_res", a)
            x = block("stage1.0", "tssa", x)
            x = block("stage2.0", "tssa", embed("patch_embed2", "proj3", x))
            x = block("stage3.0", "ssa", embed("patch_embed3", "proj3", x))
            x = block("stage3.1", "ssa", x)
        else:
            a = spike("patch_embed1.proj1", spike("patch_embed1.proj", x), pools=True)
            y = spike("patch_embed1.proj2", a, pools=True)
            y = spike("patch_embed1.proj3", y, pools=True)
            x = block("stage1.0", "tssa", y + spike("patch_embed1.proj_res", a, stride=4))
            x = block("stage2.0", "ssa", embed("patch_embed2", "proj", x))
        features.append(x.mean((-2, -1)))
    mean = torch.stack(features).mean(0)
    return nn.functional.linear(mean, state["head.weight"], state["head.bias"])


@pytest.mark.parametrize(("form", "heads"), [("cifar", 8), ("events", 16)])
def test_the_forms_of_cifar_and_events_follow_the_facts(form: str, heads: int) -> None:
    state = _released_names_and_shapes(form)
    generator = torch.Generator().manual_seed(5)
    shape = (2, 3, 16, 24) if form == "cifar" else (2, 3, 2, 32, 48)
    x = torch.randn(shape, generator=generator).double() * 2
    model = ss.load_official("qkformer", state, steps=3)
    frames = x.expand(3, *x.shape) if form == "cifar" else x.transpose(0, 1)
    expected = _released_logits(state, frames, form, heads)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)


def test_what_is_not_of_the_family_is_refused(read_case: Any) -> None:
    state = read_case(f"{WHOLE}_fixed_b2")["state_dict"]
    short = {n: t for n, t in state.items() if n != "stage1.0.mlp.fc2_bn.bias"}
    with pytest.raises(ValueError, match=r"mlp\.project\.norm\.bias"):
        ss.load_official("qkformer", short, num_heads=2)
    with pytest.raises(ValueError, match="strange"):
        ss.load_official("qkformer", {**state, "strange": torch.zeros(1)}, num_heads=2)
    with pytest.raises(ValueError, match="not QKFormer's"):
        ss.load_official("qkformer", {"layer1.weight": torch.zeros(3, 3)})
    with pytest.raises(ValueError, match="heads=3"):
        ss.load_official("qkformer", state, num_heads=3)
