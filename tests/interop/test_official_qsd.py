from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.neurons import Neuron
from spikesight.synapses import WeightQuantizer
from tests.conftest import ReadOracle
from tests.interop.test_official_metaspikformer import relative_error

CASES = [
    "lsq_conv2d_w4",
    "lsq_dwconv_w4",
    "lsq_linear_w2",
    "lsq_linear_w4",
    "qsd_attn_eval",
    "qsd_attn_train",
    "qsd_bnpad_eval",
    "qsd_convblock_eval",
    "qsd_convblock_train",
    "qsd_down_first_eval",
    "qsd_down_s1_eval",
    "qsd_mlp_eval",
    "qsd_repconv_eval",
    "qsd_repconv_train",
    "qsd_sepconv_eval",
    "qsd_small_eval",
]
LIVE_PARAMETERS = {
    "metaspikformer_15m": 15_116_720,
    "metaspikformer_31m": 31_340_392,
    "metaspikformer_55m": 55_358_952,
}


def _load(oracle: dict[str, Any]) -> torch.nn.Module:
    meta = oracle["meta"]
    stride = int(meta["args"].split(",")[3]) if "args" in meta else None
    steps = 1 if oracle["x"].ndim < 5 else oracle["x"].shape[0]
    model: torch.nn.Module = ss.load_official(
        "qsd", oracle["state_dict"], bits=meta.get("nbits", 4), steps=steps, stride=stride
    )
    return model.train(meta["mode"] == "train")


@pytest.mark.parametrize("case", CASES)
def test_matches_the_authors_module(case: str, read_oracle: ReadOracle) -> None:
    oracle = read_oracle("metaspikformer", case)
    model = _load(oracle)
    x = oracle["x"].clone().requires_grad_()

    y = model(x)
    y.backward(oracle["cot"])

    assert relative_error(y, oracle["y"]) < 1e-9
    assert relative_error(x.grad, oracle["gx"]) < 1e-9
    gradients = [p.grad for p in model.parameters()]
    expected = [oracle["gparams"][name] for name in sorted(oracle["gparams"], key=_our_order)]
    assert len(gradients) == len(expected)
    # A shift before a normalisation has no gradient but noise, far below all others.
    noise = 1e-12 * max(float(theirs.abs().max()) for theirs in expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        # The authors' gradients were stored in float32.
        near = 1e-6 * float(theirs.abs().max()) + noise
        torch.testing.assert_close(ours.float(), theirs.view_as(ours), rtol=1e-6, atol=near)
    if "state_dict_after" in oracle:
        buffers = [b for name, b in model.named_buffers() if "running" in name]
        for after, theirs in zip(buffers, oracle["state_dict_after"].values(), strict=True):
            assert relative_error(after, theirs) < 1e-9
    assert _shares_that_fire(model, oracle["x"]) == list(oracle["firing"].values())


def _shares_that_fire(model: torch.nn.Module, x: Tensor) -> list[float]:
    shares: list[float] = []
    neurons = [module for module in model.modules() if isinstance(module, Neuron)]
    handles = [
        neuron.register_forward_hook(
            lambda _, __, output: shares.append(float((output > 0).double().mean()))
        )
        for neuron in neurons
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return shares


def _our_order(name: str) -> tuple[int, str, int]:
    """The authors list a block's layer scales first, we last; sorting keeps all else in place."""
    stages = ["downsample1_1", "ConvBlock1_1", "downsample1_2", "ConvBlock1_2", "downsample2"]
    stages += ["ConvBlock2_1", "ConvBlock2_2", "downsample3", "block3", "downsample4", "block4"]
    stage, _, rest = name.partition(".")
    if stage not in stages:
        return len(stages), "", 0
    block = rest.partition(".")[0] if stage.startswith("block") else ""
    return stages.index(stage), block, int("layer_scale" in name)


def test_scales_start_as_the_authors(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("metaspikformer", "lsq_init")
    quantizer = WeightQuantizer(oracle["weight"], bits=4)
    torch.testing.assert_close(quantizer.step(), oracle["alpha_after_first_train_fwd"])


def test_scales_that_never_started_come_from_the_weights(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("metaspikformer", "qsd_small_eval")
    state = oracle["state_dict"]
    for name in state:
        if name.endswith("init_state"):
            state[name] = torch.zeros_like(state[name])
        elif name.endswith("alpha"):
            state[name] = torch.full_like(state[name], float("nan"))
    model = ss.load_official("qsd", state)
    assert model(oracle["x"]).isfinite().all()


@pytest.mark.parametrize(("name", "parameters"), LIVE_PARAMETERS.items())
def test_live_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = ss.create_model(name, layer_scale=1e-6)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_quantised_official_model_can_be_saved_and_loaded(
    read_oracle: ReadOracle, tmp_path: Path
) -> None:
    oracle = read_oracle("metaspikformer", "qsd_small_eval")
    model = ss.load_official("qsd", oracle["state_dict"])
    model.save_pretrained(tmp_path)
    again = ss.load(tmp_path, dtype=torch.float64)
    assert torch.equal(again(oracle["x"]), model(oracle["x"]))
