from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.interop.filling import rename
from spikesight.interop.spikformer import released_names
from tests.conftest import ReadOracle, firing_rates
from tests.interop.test_official_metaspikformer import relative_error

CASES = ["cifar10_e64_h4_d2_T4", "cifar10dvs_e32_h4_d1_T3", "imagenet_e64_h4_d2"]
EXACT = 1e-9
STEM = {
    "trunk.0.neuron": "patch_embed.proj_lif",
    "trunk.1.neuron": "patch_embed.proj_lif1",
    "trunk.2.neuron": "patch_embed.proj_lif2",
    "trunk.3.neuron": "patch_embed.proj_lif3",
    "trunk.4.neuron": "patch_embed.rpe_lif",
}
BLOCK = {
    "attention.query_neuron": "attn.q_lif",
    "attention.key_neuron": "attn.k_lif",
    "attention.value_neuron": "attn.v_lif",
    "attention.attention_neuron": "attn.attn_lif",
    "attention.project_neuron": "attn.proj_lif",
    "mlp.expand_neuron": "mlp.fc1_lif",
    "mlp.project_neuron": "mlp.fc2_lif",
}


class Oracle:
    def __init__(self, files: dict[str, Any]) -> None:
        self.meta: dict[str, Any] = files["meta"]
        self.state, self.io, self.spikes, self.train = (
            files[name] for name in ("state_dict", "io", "spikes", "train")
        )

    def model(self) -> nn.Module:
        state = {n: t.double() if t.is_floating_point() else t for n, t in self.state.items()}
        x = self.io["x"]
        steps = x.shape[1] if x.ndim == 5 else self.meta["kw"].get("T", 4)
        heads = self.meta["kw"]["num_heads"]
        model: nn.Module = ss.load_official("spikformer", state, num_heads=heads, steps=steps)
        return model


@pytest.fixture(params=CASES)
def oracle(request: pytest.FixtureRequest, read_oracle: ReadOracle) -> Oracle:
    return Oracle(read_oracle("spikformer", request.param))


def _their_name(name: str, depth_offset: int = 5) -> str:
    if name in STEM:
        return STEM[name]
    _, index, rest = name.split(".", 2)
    return f"block.{int(index) - depth_offset}.{BLOCK[rest]}"


def _as_map(tokens: Tensor, ours: Tensor, their_name: str, linear: bool) -> Tensor:
    """Their spikes in our layout [T*B, C, H, W]; the CIFAR code keeps tokens before channels."""
    flat = tokens.flatten(0, 1)
    if linear and not their_name.startswith("patch_embed"):
        flat = flat.reshape(len(flat), -1, ours.shape[1]).transpose(1, 2)
    return flat.reshape(ours.shape)


def test_outputs_features_and_every_spike_match_the_authors(oracle: Oracle) -> None:
    model = oracle.model()
    assert sum(p.numel() for p in model.parameters()) == oracle.meta["n_params"]
    x = oracle.io["x"].double()
    counts: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, ss.neurons.Neuron):
            module.register_forward_hook(
                lambda _, __, output, name=name: counts.__setitem__(name, output)
            )
    with torch.no_grad():
        logits = model(x)
        features = model.pool(model.trunk(model.presentation(x)))
    assert relative_error(logits, oracle.io["logits_eval_f64"]) < EXACT
    expected = oracle.io["feat_eval_f64"].flatten(0, 1)
    assert relative_error(features, expected) < EXACT
    linear = oracle.meta["official"] == "cifar10"
    assert {_their_name(name) for name in counts} == set(oracle.spikes)
    for name, ours in counts.items():
        theirs = oracle.spikes[_their_name(name)]
        expected = _as_map(theirs, ours, _their_name(name), linear).to(ours)
        assert torch.equal(ours, expected), name
        assert ours.any(), name


def test_training_matches_the_authors(oracle: Oracle) -> None:
    model = oracle.model().train()
    logits = model(oracle.train["x"].double())
    loss = nn.functional.cross_entropy(logits, oracle.train["target"])
    loss.backward()
    assert relative_error(logits, oracle.train["logits"]) < EXACT
    assert relative_error(loss, oracle.train["loss"]) < EXACT
    pairs = _pairs(oracle, dict(model.named_parameters()))
    assert {name for name, _ in pairs} == set(oracle.train["grads"])
    scale = max(float(g.abs().max()) for g in oracle.train["grads"].values() if g is not None)
    for name, ours in pairs:
        theirs = oracle.train["grads"][name]
        assert (ours.grad is None) == (theirs is None), name
        if theirs is not None:
            difference = float((ours.grad.view_as(theirs) - theirs).abs().max())
            # A bias before a normalisation has a gradient of zero but for rounding.
            assert difference < EXACT * max(float(theirs.abs().max()), 1e-6 * scale), name
    buffers = _pairs(oracle, dict(model.named_buffers()))
    assert {name for name, _ in buffers} == set(oracle.train["buffers_after"])
    for name, ours in buffers:
        assert relative_error(ours.double(), oracle.train["buffers_after"][name].double()) < EXACT


def _pairs(oracle: Oracle, ours: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Our tensors by the authors' names."""
    numbers = {name: torch.tensor(i) for i, name in enumerate(oracle.state)}
    names = rename(numbers, released_names(numbers))
    theirs = list(oracle.state)
    return [(theirs[int(names[name])], tensor) for name, tensor in ours.items()]


def test_a_sample_does_not_depend_on_its_batch_mates(oracle: Oracle) -> None:
    model, x = oracle.model(), oracle.io["x"].double()
    with torch.no_grad():
        alone = torch.cat([model(one) for one in x.split(1)])
        torch.testing.assert_close(alone, model(x), rtol=1e-12, atol=1e-12)


def test_the_released_forms_deploy(oracle: Oracle) -> None:
    model, x = oracle.model(), oracle.io["x"].double()[:1]
    assert ss.verify(model, x).equal
    report = ss.deploy(model, x).verify(x)
    assert report.equal, report.table()
    assert report.silent == []


def test_a_loaded_model_is_saved_and_loaded(oracle: Oracle, tmp_path: Path) -> None:
    model, x = oracle.model(), oracle.io["x"].double()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(ss.load(tmp_path, dtype=torch.float64)(x), model(x))


def test_missing_and_foreign_tensors_are_named(read_oracle: ReadOracle) -> None:
    state = read_oracle("spikformer", CASES[1])["state_dict"]
    short = {n: t for n, t in state.items() if n != "block.0.mlp.fc2_bn.bias"}
    with pytest.raises(ValueError, match=r"mlp\.project\.norm\.bias"):
        ss.load_official("spikformer", short, num_heads=4)
    with pytest.raises(ValueError, match="strange"):
        ss.load_official("spikformer", {**state, "strange": torch.zeros(1)}, num_heads=4)


def test_a_foreign_state_dict_is_refused() -> None:
    with pytest.raises(ValueError, match="not Spikformer's"):
        ss.load_official("spikformer", {"layer1.weight": torch.zeros(3, 3)})


def _spikingjelly_state(
    width: int, depth: int, classes: int, channels: int = 3
) -> dict[str, Tensor]:
    """Random tensors by the names and shapes of SpikingJelly's Spikformer."""
    generator = torch.Generator().manual_seed(3)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        scale = (2.0 / torch.Size(shape[1:]).numel()) ** 0.5
        state[f"{name}.0.weight"] = torch.randn(shape, generator=generator).double() * scale
        for leaf, low, high in (
            ("weight", 1.5, 2.5),
            ("bias", 0.0, 1.0),
            ("running_mean", -0.1, 0.1),
            ("running_var", 0.5, 1.0),
        ):
            span = torch.rand(shape[0], generator=generator).double() * (high - low)
            state[f"{name}.1.{leaf}"] = span + low
        state[f"{name}.1.num_batches_tracked"] = torch.tensor(7)

    before = channels
    for stage in range(4):
        add(f"patch_embed.stages.{stage}.conv_bn.block", width >> (3 - stage), before, 3, 3)
        before = width >> (3 - stage)
    add("patch_embed.positional_encoding.conv_bn.block", width, width, 3, 3)
    for block in range(depth):
        add(f"blocks.{block}.attn.qkv_conv_bn", 3 * width, width, 1)
        add(f"blocks.{block}.attn.proj_conv_bn", width, width, 1)
        add(f"blocks.{block}.mlp.fc1", 4 * width, width, 1)
        add(f"blocks.{block}.mlp.fc2", width, 4 * width, 1)
    state["head.weight"] = torch.randn(classes, width, generator=generator).double()
    state["head.bias"] = torch.randn(classes, generator=generator).double()
    return state


def _spikingjelly_logits(
    state: dict[str, Tensor], x: Tensor, steps: int, depth: int, heads: int
) -> Tensor:
    """SpikingJelly's Spikformer step by step: maxima before the neurons, logits per time step."""

    def synapse(name: str, value: Tensor) -> Tensor:
        weight = state[f"{name}.0.weight"]
        side = weight.shape[-1]
        weight = weight.reshape(*weight.shape[:2], side, side)
        value = nn.functional.conv2d(value, weight, padding=weight.shape[-1] // 2)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return nn.functional.batch_norm(value, *(state[f"{name}.1.{leaf}"] for leaf in leaves))

    membranes: dict[str, Tensor] = {}

    def fire(name: str, current: Tensor, threshold: float = 1.0) -> Tensor:
        potential = membranes.get(name, torch.zeros_like(current))
        potential = potential + (current - potential) / 2
        spikes = (potential >= threshold).double()
        membranes[name] = potential * (1 - spikes)
        return spikes

    logits = []
    for _ in range(steps):
        y = x
        for stage in range(4):
            y = synapse(f"patch_embed.stages.{stage}.conv_bn.block", y)
            y = fire(f"stage{stage}", nn.functional.max_pool2d(y, 3, 2, 1))
        name = "patch_embed.positional_encoding.conv_bn.block"
        y = y + fire("position", synapse(name, y))
        for block in range(depth):
            path = f"blocks.{block}"
            current = synapse(f"{path}.attn.qkv_conv_bn", y)
            q, k, v = fire(f"{path}.qkv", current).unflatten(1, (3, heads, -1)).unbind(1)
            similar = q.flatten(3).transpose(-1, -2) @ k.flatten(3)
            attended = v.flatten(3) @ similar.transpose(-1, -2) * 0.125
            attended = fire(f"{path}.attn", attended.reshape(y.shape), 0.5)
            y = y + fire(f"{path}.proj", synapse(f"{path}.attn.proj_conv_bn", attended))
            hidden = fire(f"{path}.fc1", synapse(f"{path}.mlp.fc1", y))
            y = y + fire(f"{path}.fc2", synapse(f"{path}.mlp.fc2", hidden))
        logits.append(
            nn.functional.linear(y.mean((-2, -1)), state["head.weight"], state["head.bias"])
        )
    return torch.stack(logits)


@pytest.mark.parametrize(("width", "depth", "steps", "heads"), [(64, 2, 4, 2), (32, 1, 3, 4)])
def test_spikingjelly_s_names_are_known(width: int, depth: int, steps: int, heads: int) -> None:
    state = _spikingjelly_state(width, depth, classes=6)
    x = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(5)).double()
    model = ss.load_official("spikformer", state, num_heads=heads, steps=steps)
    expected = _spikingjelly_logits(state, x, steps, depth, heads).mean(0)
    with torch.no_grad():
        assert relative_error(model(x), expected) < EXACT
    rates = firing_rates(model, x)
    assert all(0.01 < rate < 0.99 for rate in rates.values()), rates
