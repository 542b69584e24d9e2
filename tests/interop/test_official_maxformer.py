from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.interop.maxformer import Settings, read_block, read_model
from spikesight.models.neuron_choice import NeuronChoice
from tests.conftest import ReadOracle
from tests.interop.maxformer_by_hand import ByHand, RandomState, event_stem, pool
from tests.interop.released_modules import EXACT, check_evaluation, check_training, their_names
from tests.interop.test_official_metaspikformer import relative_error

MODELS = ["imagenet_e64_h1_s3b1_T2_48x32", "cifar_e32_h8_T3_24px"]
BLOCKS = ["ssa_c16_h4_T4", "ssa_dwc_c16_h4_T3"]
STEMS = {
    "imagenet": {
        "neuron": "patch_embed1.embed2.embed_lif",
        "path.neuron": "patch_embed1.embed3.embed_lif",
    },
    "cifar": {"neuron": "patch_embed1.embed1.embed_lif"},
}
ATTENTION = {
    "neuron": "x_lif",
    "query_neuron": "q_lif",
    "key_neuron": "k_lif",
    "value_neuron": "v_lif",
    "attention_neuron": "attn_lif",
}


class Oracle:
    def __init__(self, files: dict[str, Any]) -> None:
        self.files = files
        self.meta: dict[str, Any] = files["meta"]
        self.state: dict[str, Tensor] = files["state_dict"]
        self.io = files["io"]
        heads = self.meta["kw"].get("num_heads")
        self.settings = Settings(heads, self.meta["T"], "lif", None, 0.125)

    def build(self) -> nn.Module:
        """The model, or the block, that its state dict belongs to."""
        loaded: nn.Module = ss.load_official(
            "maxformer", self.state, num_heads=self.settings.num_heads, steps=self.settings.steps
        )
        return loaded

    def tensors(self) -> dict[str, str]:
        """The authors' names of our tensors."""
        if "head.weight" in self.state:
            _, names = read_model("maxformer", self.state, self.settings)
            return their_names(self.state, names)
        choice = NeuronChoice.resolve("lif", self.meta["T"], None)
        _, of_block = read_block("maxformer", self.state, self.settings, choice)
        return {f"part.{o}": t for o, t in their_names(self.state, of_block).items()}

    def neuron(self, name: str) -> str:
        """What the authors call a neuron of ours."""
        if name == "head_neuron":
            return "head_lif"
        if not name.startswith("trunk."):
            rest = name.removeprefix("part.branch.").removeprefix("attention.")
            return ATTENTION.get(rest, "dwc_neuron")
        _, stage, place, rest = name.split(".", 3)
        if place == "0" and stage == "0":
            return STEMS[self.meta["case"].partition("_")[0]][rest]
        if place == "0":
            part = {"neuron": "max_embed1", "path.neuron": "embed1"}[rest]
            return f"patch_embed{int(stage) + 1}.{part}.embed_lif"
        block = f"stage{int(stage) + 1}.{int(place) - 1}"
        if rest.startswith("mlp"):
            return f"{block}.mlp.fc{rest[-1]}_lif"
        attention = f"{block}.attn.{ATTENTION.get(rest.removeprefix('mixer.branch.'))}"
        if attention in self.files["spikes"]:
            return attention
        return next(n for n in self.files["spikes"] if n.startswith(f"{block}.mixer."))


@pytest.fixture(params=[*MODELS, *BLOCKS])
def oracle(request: pytest.FixtureRequest, read_oracle: ReadOracle) -> Oracle:
    return Oracle(read_oracle("maxformer", request.param))


@pytest.fixture(params=MODELS)
def whole(request: pytest.FixtureRequest, read_oracle: ReadOracle) -> Oracle:
    return Oracle(read_oracle("maxformer", request.param))


def test_outputs_gradients_and_every_spike_match_the_authors(oracle: Oracle) -> None:
    model = oracle.build()
    assert sum(p.numel() for p in model.parameters()) == oracle.meta["n_params"]
    spikes = oracle.files["spikes"]
    if oracle.meta["case"].startswith("cifar"):
        # One neuron stands for the two of the stem that see the same current.
        first, second = (f"patch_embed1.embed{i}.embed_lif" for i in (1, 2))
        assert torch.equal(spikes[first], spikes[second])
        del spikes[second]
    names = (n for n, module in model.named_modules() if isinstance(module, ss.neurons.Neuron))
    check_evaluation(model, oracle.files, {name: oracle.neuron(name) for name in names})


def test_training_matches_the_authors(oracle: Oracle) -> None:
    check_training(oracle.build(), oracle.files, oracle.tensors())


def test_a_sample_does_not_depend_on_its_batch_mates(whole: Oracle) -> None:
    model, x = whole.build(), whole.io["x"].double()
    with torch.no_grad():
        alone = torch.cat([model(one) for one in x.split(1)])
        torch.testing.assert_close(alone, model(x), rtol=1e-12, atol=1e-12)


def test_the_released_forms_deploy_and_are_spike_driven(whole: Oracle) -> None:
    model, x = whole.build(), whole.io["x"].double()[:1]
    assert ss.verify(model, x).equal
    net = ss.deploy(model, x)
    report = net.verify(x)
    assert report.equal, report.table()
    assert report.silent == []
    assert ss.audit(net, x).spike_driven


def test_a_loaded_model_is_saved_and_loaded(whole: Oracle, tmp_path: Path) -> None:
    model, x = whole.build(), whole.io["x"].double()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(ss.load(tmp_path, dtype=torch.float64)(x), model(x))


def test_missing_and_foreign_tensors_are_named(read_oracle: ReadOracle) -> None:
    state = read_oracle("maxformer", MODELS[1])["state_dict"]
    short = {n: t for n, t in state.items() if n != "stage2.0.mixer.conv_bn.bias"}
    with pytest.raises(ValueError, match=r"trunk\.1\.1\.mixer\.branch\.synapse\.norm\.bias"):
        ss.load_official("maxformer", short)
    with pytest.raises(ValueError, match="strange"):
        ss.load_official("maxformer", {**state, "strange": torch.zeros(1)})
    averaged = {n.replace("max_embed", "avg_embed"): t for n, t in state.items()}
    with pytest.raises(ValueError, match="patch_embed2 is none of the known ones"):
        ss.load_official("maxformer", averaged)
    with pytest.raises(ValueError, match="one entry of each"):
        ss.load_official("maxformer", state, mixers=("none",))
    with pytest.raises(ValueError, match="neither a model's tensors"):
        ss.load_official("maxformer", {"layer1.weight": torch.zeros(3, 3)})


@pytest.mark.parametrize(("ratio", "steps"), [(1, 3), (4, 2)])
def test_the_event_model_computes_what_its_names_say(ratio: int, steps: int) -> None:
    state = RandomState()
    state.event_stem(32)
    state.synapse("stage1.0.mixer.conv", "stage1.0.mixer.conv_bn", (32, 1, 3, 3), bias=True)
    state.mlp("stage1.0.mlp", 32, ratio * 32)
    state.embed("patch_embed2.max_embed1", 48, 32)
    state.embed("patch_embed2.embed1", 48, 48)
    state.embed("patch_embed2.max_embed2", 48, 32, 1)
    state.attention("stage2.0.attn", 48)
    state.mlp("stage2.0.mlp", 48, ratio * 48)
    state.head(5, 48)
    frames = torch.rand(2, steps, 2, 32, 48, generator=torch.Generator().manual_seed(5)).double()
    # So that attention neurons fire on these few pixels.
    net = ByHand(state.tensors, heads=16, scale=1.0)

    def halved(x: Tensor) -> Tensor:
        spikes = net.fire("patch_embed2", x)
        path = net.fire("path2", pool(net.embed("patch_embed2.max_embed1", spikes)))
        path = net.embed("patch_embed2.embed1", path)
        return path + pool(net.embed("patch_embed2.max_embed2", spikes))

    expected = net.logits(list(frames.unbind(1)), [lambda x: event_stem(net, x), halved])
    assert min(net.fired.values()) > 0, net.fired
    model = ss.load_official("maxformer", state.tensors, steps=steps, attention_scale=1.0)
    assert relative_error(model(frames), expected) < EXACT
    assert ss.audit(ss.deploy(model, frames[:1]), frames[:1]).spike_driven
