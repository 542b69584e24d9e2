from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.interop.official_layouts import OfficialBlock
from tests.conftest import ReadOracle, firing_rates

CASES = [
    "sdt_attn_eval",
    "sdt_bnpad_eval",
    "sdt_bnpad_train",
    "sdt_convblock_eval",
    "sdt_down_first_eval",
    "sdt_down_s1_eval",
    "sdt_mlp_eval",
    "sdt_repconv_eval",
    "sdt_repconv_train",
    "sdt_sepconv_eval",
    "sdt_small_T4_eval",
]


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.abs().max().clamp_min(1e-300))


@pytest.mark.parametrize("case", CASES)
def test_matches_the_authors_module(case: str, read_oracle: ReadOracle) -> None:
    oracle = read_oracle("metaspikformer", case)
    x = oracle["x"].clone().requires_grad_("cot" in oracle)
    steps = oracle["meta"].get("T", x.shape[0] if x.ndim == 5 else 1)
    model = ss.load_official("metaspikformer", oracle["state_dict"], num_heads=8, steps=steps)
    model.train(oracle["meta"]["mode"] == "train")

    y = model(x)

    assert relative_error(y, oracle["y"]) < 1e-9
    if "cot" in oracle:
        y.backward(oracle["cot"])
        assert relative_error(x.grad, oracle["gx"]) < 1e-9
        gradients = [p.grad for p in model.parameters()]
        expected = _in_our_order(model, oracle["gparams"])
        assert len(gradients) == len(expected)
        for ours, theirs in zip(gradients, expected, strict=True):
            # The authors' gradients were stored in float32.
            torch.testing.assert_close(
                ours.float(), theirs.view_as(ours), rtol=1e-6, atol=1e-6 * float(theirs.abs().max())
            )
    if "state_dict_after" in oracle:
        buffers = [b for name, b in model.named_buffers() if "running" in name]
        for ours, theirs in zip(buffers, oracle["state_dict_after"].values(), strict=True):
            assert relative_error(ours, theirs) < 1e-9
    rates = list(firing_rates(model, oracle["x"]).values())
    assert rates == list(oracle["firing"].values())


def _in_our_order(model: torch.nn.Module, gradients: dict[str, Tensor]) -> list[Tensor]:
    """The authors list parameters in the same order; only shapes of 1-D convolutions differ."""
    shapes = [p.numel() for p in model.parameters()]
    assert shapes == [g.numel() for g in gradients.values()]
    return list(gradients.values())


def test_a_foreign_state_dict_is_refused() -> None:
    with pytest.raises(ValueError, match="not Meta-SpikeFormer's"):
        ss.load_official("metaspikformer", {"layer1.weight": torch.zeros(3, 3)})
    with pytest.raises(ValueError, match="no official family"):
        ss.load_official("resnet", {})


def test_missing_tensors_are_named(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("metaspikformer", "sdt_attn_eval")
    del oracle["state_dict"]["k_conv.1.bias"]
    with pytest.raises(ValueError, match=r"key\.outer_norm\.bias"):
        ss.load_official("metaspikformer", oracle["state_dict"])


def test_blocks_take_official_and_time_major_input(read_oracle: ReadOracle) -> None:
    oracle = read_oracle("metaspikformer", "sdt_mlp_eval")
    block = ss.load_official("metaspikformer", oracle["state_dict"], steps=2)
    assert isinstance(block, OfficialBlock)
    assert torch.equal(block(oracle["x"]).flatten(0, 1), block(oracle["x"].flatten(0, 1)))


def test_an_official_model_can_be_saved_and_loaded(read_oracle: ReadOracle, tmp_path: Path) -> None:
    oracle = read_oracle("metaspikformer", "sdt_small_T4_eval")
    model = ss.load_official("metaspikformer", oracle["state_dict"], steps=4)
    model.save_pretrained(tmp_path)
    again = ss.load(tmp_path, dtype=torch.float64)
    assert torch.equal(again(oracle["x"]), model(oracle["x"]))
