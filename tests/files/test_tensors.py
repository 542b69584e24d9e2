"""Tensors that others wrote: what is wrong with them is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import spikesight as ss
from spikesight.errors import FileError
from spikesight.files.tensors import read_shapes, read_tensors
from tests.training.conftest import TINY


@pytest.mark.parametrize("number", [float("nan"), float("-inf"), 1e38])
def test_numbers_that_are_none_are_named(number: float, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.ones(2), "b": torch.tensor([1.0, number]), "c": torch.zeros(0)}
    save_file(tensors, path)
    with pytest.raises(FileError, match=r"model\.safetensors: b holds NaN, infinity or"):
        read_tensors(path)
    assert read_tensors(path, finite=False).keys() == tensors.keys()
    assert read_shapes(path) == {"a": (2,), "b": (2,), "c": (0,)}


@pytest.mark.parametrize("content", [b"", b"x" * 7, b"\xff" * 100, (10**6).to_bytes(8, "little")])
def test_damaged_files_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for read in (read_tensors, read_shapes):
        with pytest.raises(FileError, match=r"model\.safetensors is damaged"):
            read(path)
    with pytest.raises(FileError, match=r"is a folder"):
        read_tensors(tmp_path)


def test_claims_of_a_model_are_compared_with_its_weights(tmp_path: Path) -> None:
    sizes = TINY["model"]["arguments"]
    ss.create_model("metaspikformer_nano", num_classes=2, **sizes).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    sound = json.loads(path.read_text())
    for name, value, named in (
        ("num_classes", 2**40, r"config\.json .*num_classes is 1099511627776; pass"),
        ("num_classes", 3, r"model\.safetensors: does not fit .* is \[2\] and not \[3\]"),
        ("steps", 10**9, r"config\.json .*steps is 1000000000; pass"),
        ("depths", [256] * 5, r"model\.safetensors: .* describes 1280 layers"),
        ("depths", [10**9] * 5, r"model\.safetensors: .* describes 5000000000 layers"),
        ("widths", [2**40] * 5, r"config\.json .*widths"),
        ("strides", [16] * 5, r"config\.json .*strides"),
        ("attention_scale", float("nan"), r"config\.json: arguments\.attention_scale: is nan"),
        ("widths", "wide", r"config\.json .*widths"),
        ("whatever", 1, r"config\.json .*whatever"),
    ):
        changed = sound["arguments"] | {name: value}
        path.write_text(json.dumps(sound | {"arguments": changed}))
        with pytest.raises(FileError, match=named):
            ss.load(tmp_path)


def test_tensors_of_another_model_are_named(tmp_path: Path) -> None:
    sizes = TINY["model"]["arguments"]
    ss.create_model("metaspikformer_nano", num_classes=2, **sizes).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    sound = read_tensors(path)
    norm = next(name for name in sound if name.endswith("running_var"))
    weight = next(name for name in sound if name.endswith("conv.weight"))
    for changes, named in (
        ({"more": torch.ones(1)}, "more is no tensor of it"),
        ({norm: -sound[norm]}, f"{norm} is a variance and holds numbers below 0"),
        ({weight: sound[weight].int()}, f"{weight} holds int32 numbers where floating-point"),
        ({weight: sound[weight].flatten()}, f"{weight} is "),
    ):
        save_file(sound | changes, path)
        with pytest.raises(FileError, match=rf"model\.safetensors: does not fit .*{named}"):
            ss.load(tmp_path)
    save_file({name: t for name, t in sound.items() if name != norm}, path)
    with pytest.raises(FileError, match=rf"does not fit .*{norm} is missing \(1 such"):
        ss.load(tmp_path)
