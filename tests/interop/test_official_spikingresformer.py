from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.interop.filling import part_of
from spikesight.interop.spikingresformer import (
    ATTENTION,
    FEED_FORWARD,
    released_names,
    with_keys_apart,
)
from spikesight.neurons import LIF
from tests.conftest import ReadOracle
from tests.interop.released_modules import (
    EXACT,
    check_evaluation,
    check_training,
    neuron_names,
    their_names,
)
from tests.interop.test_official_metaspikformer import relative_error

LONE, WHOLE = "dssa_c16_h2_p2_T4", "imagenet_p8_16_24_T3_64"


class EveryStep(nn.Module):
    """In the place of the readout: logits [T, B, K], as the authors' models give them."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (self.steps, -1))


def _load(oracle: dict[str, Any], **options: Any) -> nn.Module:
    options = {"steps": oracle["meta"]["T"], **options}
    model: nn.Module = ss.load_official("spikingresformer", oracle["state_dict"], **options)
    return model


def _with_every_step(model: nn.Module) -> nn.Module:
    if isinstance(model, ss.Classifier):
        model.readout = EveryStep(model.steps)  # type: ignore[assignment]
    return model


def _apart(tensors: dict[str, Tensor], oracle: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of keys and of values apart, as they are here."""
    return with_keys_apart(tensors, oracle["state_dict"])


def _names(oracle: dict[str, Any]) -> dict[str, str]:
    if "classifier.weight" in oracle["state_dict"]:
        return released_names(oracle["state_dict"])
    return {theirs: f"part.{ours}" for theirs, ours in ATTENTION.items()}


@pytest.mark.parametrize("case", [LONE, WHOLE])
def test_outputs_gradients_rates_and_every_spike_match_the_authors(
    case: str, read_oracle: ReadOracle
) -> None:
    oracle = read_oracle("spikingresformer", case)
    names = _names(oracle)
    apart = {kind: _apart(oracle["train"][kind], oracle) for kind in ("grads", "buffers_after")}
    recorded = {**oracle, "train": {**oracle["train"], **apart}}
    model = _with_every_step(_load(oracle))
    assert sum(p.numel() for p in model.parameters()) == oracle["meta"]["n_params"]
    check_evaluation(model, oracle, neuron_names(list(oracle["spikes"]), names))
    tensors = their_names(_apart(oracle["state_dict"], oracle), names)
    check_training(
        _with_every_step(_load(oracle)), recorded, tensors, logits=lambda steps: steps.mean(0)
    )


def test_the_first_step_of_a_training_starts_the_rates(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("spikingresformer", LONE)
    first = oracle["first_step"]
    rates = {n: torch.zeros_like(oracle["state_dict"][n]) for n in ATTENTION if "rate" in n}
    fresh = {"meta": oracle["meta"], "state_dict": {**oracle["state_dict"], **rates}}
    model = _load(fresh).train()
    y = model(oracle["io"]["x"].double())
    assert relative_error(y, first["y_train"]) < EXACT
    tensors = their_names(_apart(oracle["state_dict"], oracle), _names(oracle))
    after = _apart(first["buffers_after"], oracle)
    for name, buffer in model.named_buffers():
        theirs = after[tensors[name]].double()
        assert relative_error(buffer.double(), theirs) < EXACT, name


def test_a_released_model_is_saved_and_keeps_samples_apart(
    read_oracle: ReadOracle, tmp_path: Path
) -> None:
    oracle = read_oracle("spikingresformer", WHOLE)
    model, x = _load(oracle), oracle["io"]["x"].double()
    with torch.no_grad():
        expected = oracle["io"]["y_eval"].mean(0)
        torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)
        alone = torch.cat([model(one) for one in x.split(1)])
        torch.testing.assert_close(alone, model(x), rtol=1e-12, atol=1e-12)
        model.save_pretrained(tmp_path)
        assert torch.equal(ss.load(tmp_path, dtype=torch.float64)(x), model(x))


def test_the_size_of_training_is_kept_where_it_is_asked_for(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("spikingresformer", WHOLE)
    x = oracle["io"]["x"].double()
    larger = torch.cat([x, x.flip(3)], 3).repeat(1, 1, 2, 1)
    with torch.no_grad():
        fixed = _load(oracle, img_size=64)
        assert torch.equal(fixed(x), _load(oracle)(x))
        assert not torch.equal(fixed(larger), _load(oracle)(larger))
    lone = read_oracle("spikingresformer", LONE)
    assert _load(lone, img_size=6).part.product.summands == lone["meta"]["kw"]["lenth"]
    with pytest.raises(ValueError, match="image_size=50 must be divisible by 16"):
        _load(oracle, img_size=50)


def test_a_lone_feed_forward_part_is_that_of_the_model(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("spikingresformer", WHOLE)
    state = part_of(oracle["state_dict"], "layers.1.2.")
    assert {name.rpartition(".")[0] for name in state} <= set(FEED_FORWARD)
    lone = ss.load_official("spikingresformer", state, steps=3)
    block = _load(oracle).trunk[2][1]
    x = torch.randn(3, 2, 16, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        branch = block.mlp(x.flatten(0, 1)).unflatten(0, (3, 2))
        assert torch.equal(lone(x), x + branch)


def test_neurons_that_learned_their_decay_are_known_by_it(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("spikingresformer", WHOLE)
    x = oracle["io"]["x"].double()
    # 1 / tau is the sigmoid of w: 0 is tau = 2.
    for w, same in ((0.0, True), (1.0, False)):
        learned = {f"{n}.w": torch.tensor(w, dtype=torch.float64) for n in oracle["spikes"]}
        state = {**oracle["state_dict"], **learned}
        model = ss.load_official("spikingresformer", state, steps=3)
        decays = [m.decay for m in model.modules() if isinstance(m, LIF) and m.decay is not None]
        assert [float(decay.detach()) for decay in decays] == [w] * len(oracle["spikes"])
        expected = oracle["io"]["y_eval"].mean(0)
        with torch.no_grad():
            assert torch.allclose(model(x), expected, atol=1e-12) == same
    assert ss.load_official("spikingresformer", state).steps == 16


def test_what_is_not_of_the_family_is_refused(read_oracle: ReadOracle) -> None:
    state = read_oracle("spikingresformer", WHOLE)["state_dict"]
    short = {n: t for n, t in state.items() if n != "layers.2.1.Wproj.weight"}
    with pytest.raises(ValueError, match=r"attention\.project\.conv\.weight"):
        ss.load_official("spikingresformer", short)
    with pytest.raises(ValueError, match="strange"):
        ss.load_official("spikingresformer", {**state, "strange": torch.zeros(1)})
    with pytest.raises(ValueError, match="not SpikingResformer's"):
        ss.load_official("spikingresformer", {"layer1.weight": torch.zeros(3, 3)})
