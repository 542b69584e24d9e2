"""Converted checkpoints are saved under the name of the variant whose sizes they have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.interop.filling import variant_of
from spikesight.interop.metaspikformer import load_metaspikformer
from spikesight.interop.spikformer import load_spikformer
from tests.interop.test_tensors_without_a_place import OfficialState


def released(width: int, depth: int, classes: int = 10) -> dict[str, Tensor]:
    """A Spikformer of the released ImageNet form by the authors' names."""
    state: dict[str, Tensor] = {}

    def add(name: str, norm: str, outputs: int, inputs: int, *side: int) -> None:
        state[f"{name}.weight"] = torch.randn(outputs, inputs, *side) * 0.1
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{leaf}"] = torch.ones(outputs)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    inputs = 3
    for stage, number in enumerate(("", "1", "2", "3")):
        outputs = width >> (3 - stage)
        stem = "patch_embed.proj"
        add(f"{stem}_conv{number}", f"{stem}_bn{number}", outputs, inputs, 3, 3)
        inputs = outputs
    add("patch_embed.rpe_conv", "patch_embed.rpe_bn", width, width, 3, 3)
    for block in (f"block.{i}." for i in range(depth)):
        for short in ("q", "k", "v", "proj"):
            part = f"{block}attn.{short}"
            add(f"{part}_conv", f"{part}_bn", width, width, 1)
        state[f"{block}attn.proj_conv.bias"] = torch.zeros(width)
        for layer, outputs, channels in (("fc1", 4 * width, width), ("fc2", width, 4 * width)):
            part = f"{block}mlp.{layer}"
            add(f"{part}_conv", f"{part}_bn", outputs, channels, 1, 1)
            state[f"{part}_conv.bias"] = torch.zeros(outputs)
    return {**state, "head.weight": torch.randn(classes, width), "head.bias": torch.zeros(classes)}


@pytest.mark.parametrize(
    ("width", "depth", "heads", "name"),
    [(384, 8, 6, "spikformer_8_384"), (64, 1, 1, "spikformer"), (384, 8, 12, "spikformer")],
)
def test_spikformers(width: int, depth: int, heads: int, name: str, tmp_path: Path) -> None:
    model = load_spikformer(released(width, depth), num_heads=heads)
    assert model.recipe["name"] == name
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    x = torch.rand(1, 3, 32, 32)
    # Earlier versions called every one this.
    old = {"name": "spikformer_8_512", "arguments": saved["arguments"]}
    del old["arguments"]["drop_path_rate"]
    for recipe in (saved, old):
        (tmp_path / "config.json").write_text(json.dumps(recipe))
        with torch.no_grad():
            assert torch.equal(ss.load(tmp_path)(x), model(x))


def test_a_metaspikformer_of_sizes_of_its_own() -> None:
    model = load_metaspikformer(OfficialState())
    assert model.recipe["name"] == "metaspikformer"
    assert model.recipe["arguments"]["widths"] == (4, 8, 16, 32, 40)
    assert "metaspikformer" not in ss.list_models()


@pytest.mark.parametrize("family", ["metaspikformer", "spike2former"])
def test_variants(family: str) -> None:
    for name in ss.list_models(f"{family}_*"):
        with torch.device("meta"):
            sizes = ss.create_model(name).resolved
        told = ("widths", "depths") if family == "metaspikformer" else ("trunk", "queries")
        assert variant_of(family, sizes, told) == name
    assert variant_of(family, dict.fromkeys(told), told) == family


def test_a_variant_of_a_users_own_is_not_looked_at() -> None:
    program = """
import spikesight as ss
from spikesight.interop.filling import variant_of

@ss.register_model
def spikformer_mine(**options):
    raise AssertionError

print(variant_of("spikformer", {"width": 1}, ["width"]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "spikformer\n", ran.stderr


def test_families_are_built_with_any_sizes() -> None:
    model = ss.create_model("spikformer", width=32, depth=1, heads=2, num_classes=2)
    assert model.recipe["name"] == "spikformer"
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
