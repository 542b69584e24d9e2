"""Residual branches that begin at a share of the usual gain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.errors import UserError


def _images() -> Tensor:
    return torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def _norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)
    }


def test_the_last_normalisation_of_every_branch_begins_at_a_share_of_the_gain() -> None:
    sizes = {"in_channels": 1, "levels": 8, "norm_gain": 2.0}
    quiet = _norms(ss.create_model("metaspikformer_nano", branch_gain=0.25, **sizes))
    usual = _norms(ss.create_model("metaspikformer_nano", branch_gain=1.0, **sizes))
    damped = {name for name in quiet if not torch.equal(quiet[name].weight, usual[name].weight)}
    assert all(bool((norm.weight == 2.0).all()) for norm in usual.values())
    assert all(bool((quiet[name].weight == 0.5).all()) for name in damped)
    branches = {".".join(name.split(".")[:4]) for name in damped}
    ends = ("separable", "mixer", "attention", "mlp")
    assert branches == {f"trunk.{stage}.1.{end}" for stage in (1, 2) for end in ends[:2]} | {
        f"trunk.{stage}.1.{end}" for stage in (3, 4) for end in ends[2:]
    }
    assert len(damped) == 8


def test_branches_that_begin_at_nothing_leave_the_stream_to_the_down_samplings() -> None:
    model = ss.create_model("metaspikformer_nano", in_channels=1, branch_gain=0.0).train()
    images = _images()
    stream = images
    for stage in model.trunk:
        stream = stage[0](stream)
    assert torch.equal(model.trunk(images), stream)


def test_gains_of_branches_that_begin_at_nothing_learn() -> None:
    model = ss.create_model("metaspikformer_nano", in_channels=1, branch_gain=0.0).train()
    nn.functional.cross_entropy(model(_images()), torch.arange(4)).backward()
    silent = [norm for norm in _norms(model).values() if not norm.weight.any()]
    assert len(silent) == 8
    assert all(norm.weight.grad is not None and norm.weight.grad.any() for norm in silent)


def test_a_saved_model_comes_back_whatever_its_branches_began_with(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", in_channels=1, branch_gain=0.5).eval()
    model.save_pretrained(tmp_path)
    assert torch.equal(ss.load(tmp_path)(_images()), model(_images()))


def test_a_share_outside_its_range_is_refused() -> None:
    with pytest.raises(UserError, match="branch_gain"):
        ss.create_model("metaspikformer_nano", branch_gain=-0.5)
