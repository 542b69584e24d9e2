"""Damaged state dicts of authors and of teachers."""

from __future__ import annotations

import io
import pickle
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save
from torch import Tensor

import spikesight as ss
from spikesight.commands.models import convert_command
from spikesight.training.teachers import _with_weights
from tests.interop.test_official_ms_qkformer import cifar
from tests.robustness.damage import Damage
from tests.robustness.guard import Trial
from tests.robustness.saved_models import check_weights


def official_state() -> dict[str, Tensor]:
    """A state dict by the names of the authors' Spikformer for CIFAR."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def norm(name: str, width: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{leaf}"] = torch.rand(width, generator=generator) + 0.1
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    before = 3
    for number, width in zip(("", "1", "2", "3"), (4, 8, 16, 32), strict=True):
        state[f"patch_embed.proj_conv{number}.weight"] = torch.rand(
            width, before, 3, 3, generator=generator
        )
        norm(f"patch_embed.proj_bn{number}", width)
        before = width
    state["patch_embed.rpe_conv.weight"] = torch.rand(32, 32, 3, 3, generator=generator)
    norm("patch_embed.rpe_bn", 32)
    linear = [(f"attn.{name}", 32, 32) for name in ("q", "k", "v", "proj")]
    for name, out, into in [*linear, ("mlp.fc1", 64, 32), ("mlp.fc2", 32, 64)]:
        state[f"block.0.{name}_linear.weight"] = torch.rand(out, into, generator=generator)
        state[f"block.0.{name}_linear.bias"] = torch.rand(out, generator=generator)
        norm(f"block.0.{name}_bn", out)
    state["head.weight"] = torch.rand(3, 32, generator=generator)
    state["head.bias"] = torch.rand(3, generator=generator)
    return state


_LARGE = 10**7  # numbers; what is larger is a view of one number


def _damaged_state(state: dict[str, Any], damage: Damage) -> Any:
    random = damage.random
    odd: list[Any] = [
        None,
        3,
        "x",
        [1],
        {},
        torch.tensor(1.0),
        torch.zeros(0),
        torch.zeros(3, 0),
        torch.ones(2, 2, 2, 2),
        torch.full((2,), float("nan")),
        torch.zeros(4, dtype=torch.complex64),
        torch.zeros(5, dtype=torch.bool),
        torch.zeros(2, 3).to_sparse(),
        torch.zeros(3, device="meta"),
        torch.zeros(3, dtype=torch.int8),
        torch.zeros(1).expand(10**9),
        torch.zeros(1 << 10).half(),
        np.float64(3.0),
        10**30,
    ]
    for _ in range(random.choice([1, 1, 2])):
        name = random.choice(list(state))

        def value(name: str = name) -> None:
            state[name] = random.choice(odd)

        def number(name: str = name) -> None:
            if isinstance(state[name], Tensor) and 0 < state[name].numel() < _LARGE:
                changed = state[name].clone().float()
                changed.view(-1)[0] = random.choice([float("nan"), float("inf"), 1e38])
                state[name] = changed

        def shape(name: str = name) -> None:
            if (
                isinstance(state[name], Tensor)
                and state[name].ndim
                and state[name].numel() < _LARGE
            ):
                state[name] = state[name].repeat(2, *[1] * (state[name].ndim - 1))

        damage.note(str(name))
        damage.one_of(
            value=value,
            number=number,
            shape=shape,
            lost=lambda name=name: state.pop(name),
            name=lambda name=name: state.update(
                {
                    random.choice(
                        ["", "x", f"{name}.x", f"module.{name}", "block.99999.mlp.fc1_bn.bias"]
                    ): state.pop(name)
                }
            ),
            key=lambda name=name: state.update(
                {random.choice([1, None, (1, 2), b"x"]): state[name]}
            ),
            half=lambda: state.update(
                {
                    n: t.half()
                    for n, t in state.items()
                    if isinstance(t, Tensor) and t.numel() < _LARGE
                }
            ),
            prefix=lambda: [state.update({f"_orig_mod.{n}": state.pop(n)}) for n in list(state)],
        )
    if damage.hits(0.15):
        damage.note("wrapped")
        extras = [Namespace(a=1), np.float64(1), {"epoch": 1}, ["x"], Path("x")]
        return {random.choice(["model", "state_dict", "x"]): state, "args": random.choice(extras)}
    return damage.pick(
        state, [[], None, 3, [state], {}, {"model": None}, {"model": 3}], "whole", 0.04
    )


def _saved(value: Any, damage: Damage) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=damage.none or not damage.hits(0.2))
    content = stream.getvalue()
    if damage.hits(0.2):
        return damage.bytes(content, 400)
    if damage.hits(0.04):
        damage.note("no checkpoint")
        return damage.random.choice(
            [b"", pickle.dumps({"a": 1}), save({"a": torch.ones(1)}), b"<html>"]
        )
    return content


def _official(damage: Damage, folder: Path) -> Trial:
    families = ["spikformer"] * 6 + ["metaspikformer", "qsd", "spike2former"]
    others = ["maxformer", "ms_qkformer"]
    family = "spikformer" if damage.none else damage.random.choice(families + others)
    # MS-QKFormer's names for CIFAR are those of a Max-Former too.
    state: Any = cifar()[0] if family in others else official_state()
    if not damage.none:
        state = _damaged_state(state, damage)
    path = folder / "authors.pth"
    path.write_bytes(_saved(state, damage))
    odd: list[dict[str, Any]] = [
        {"num_heads": value} for value in (0, -1, 3, 10**9, "x", None, 1.5, float("nan"), True, [1])
    ]
    odd += [{"steps": value} for value in (0, -1, 10**12, "x", 1.5, None)]
    odd += [
        {"strides": value} for value in ([0, 1, 1, 1], "x", [1], [2, 2, 2, 2, 2], 3, [1e300] * 4)
    ]
    odd += [
        {"neuron": "x"},
        {"levels": 0},
        {"levels": 10**30},
        {"attention_scale": float("nan")},
        {"x": 1},
    ]
    options: dict[str, Any] = {"num_heads": 1} if family != "spikformer" else {}
    options = damage.pick(options, odd, "configuration", 0.2)

    def read() -> None:
        convert_command(path, folder / "converted", family, options)
        check_weights(ss.load(folder / "converted"))

    return Trial(read, (path.name, *options), f"{family}; " + "; ".join(damage.notes))


@cache
def _teacher_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = timm.create_model("test_vit", num_classes=3).state_dict()
    return state


def _teacher(damage: Damage, folder: Path) -> Trial:
    state: Any = dict(_teacher_state())
    if not damage.none:
        state = _damaged_state(state, damage)
    path = folder / "teacher.pth"
    path.write_bytes(_saved(state, damage))
    return Trial(
        lambda: check_weights(_with_weights("test_vit", path)),
        (path.name,),
        "; ".join(damage.notes),
    )


READERS = [("state dicts", _official, 60), ("teachers", _teacher, 15)]
