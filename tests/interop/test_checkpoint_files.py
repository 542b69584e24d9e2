"""Weights are found in what training scripts save around them, and no code in a file is run."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikesight.errors import FileError
from spikesight.interop.checkpoint_files import read_checkpoint


class Log(defaultdict):  # type: ignore[type-arg]
    """What MMEngine's HistoryBuffer is like: of a module that need not be installed."""

    def __reduce__(self) -> Any:
        return Log, (list,), {"scale": np.float64(0.5)}


class Opens:
    """A file that runs code when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def weights() -> dict[str, Tensor]:
    return OrderedDict({"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2).half()})


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in weights().items()}


BESIDE = {
    "epoch": 3,
    "best": np.float64(81.5),
    "seed": np.int64(3),
    "losses": np.arange(4),
    "args": argparse.Namespace(lr=0.1, output=Path("runs"), sizes={1, 2}),
    "log": Log(list),
    "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    "dtype": torch.float16,
}


@pytest.mark.parametrize(
    "content",
    [
        weights(),
        {"model": weights(), **BESIDE},
        {"state_dict": prefixed("module."), **BESIDE},
        {"state_dict": {"model": prefixed("module._orig_mod.")}, "step": torch.tensor(3)},
        {"model_ema": {"n_averaged": torch.tensor(4), **prefixed("module.")}, **BESIDE},
        {"model_state_dict": {n: nn.Parameter(t) for n, t in weights().items()}},
        {"state_dict": prefixed("model."), "hyper_parameters": argparse.Namespace()},
        {**weights(), "log": Log(list)},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found(content: dict[str, Any], zipped: bool, tmp_path: Path) -> None:
    if not zipped:  # the form of PyTorch before 1.6 takes no unknown objects beside the weights
        content = {k: v for k, v in content.items() if k in ("epoch", "step") or k not in BESIDE}
        content.pop("log", None)
        content.pop("hyper_parameters", None)
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "a.pth")
    assert found.keys() == weights().keys()
    for name, tensor in weights().items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
        assert not found[name].requires_grad


def test_an_entry_is_chosen(tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in prefixed("module.").items()}
    torch.save({"model": weights(), "model_ema": other, "mine": other}, tmp_path / "a.pth")
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["a.weight"], torch.ones(2, 3))
    for entry in ("model_ema", "mine"):
        found = read_checkpoint(tmp_path / "a.pth", entry)
        assert torch.equal(found["a.weight"], torch.ones(2, 3) + 1)
    with pytest.raises(FileError, match=r"no entry 'yours' .* one of model, model_ema, mine"):
        read_checkpoint(tmp_path / "a.pth", "yours")


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / "a.safetensors")
    assert read_checkpoint(tmp_path / "a.safetensors").keys() == weights().keys()


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (exec, ("open('ran', 'w')",), "builtins.exec"),
        (eval, ("open('ran', 'w')",), "builtins.eval"),
        (getattr, ("", "upper"), "builtins.getattr"),
        (__import__("os").system, ("touch ran",), "system"),
        (__import__("subprocess").check_call, (["touch", "ran"],), "check_call"),
        (__import__("runpy").run_path, ("ran",), "runpy.run_path"),
    ],
)
def test_hostile_files_run_nothing(
    function: Any,
    arguments: Any,
    name: str,
    beside: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = Opens(function, *arguments)
    torch.save({"model": weights(), "x": hostile} if beside else hostile, "a.pth")
    with pytest.raises(FileError, match=f"{name}, which could run code .* weights alone"):
        read_checkpoint(Path("a.pth"))
    Path("b.pth").write_bytes(pickle.dumps(hostile))
    with pytest.raises(FileError, match="cannot be read without executing code"):
        read_checkpoint(Path("b.pth"))
    assert not Path("ran").exists()


def test_objects_of_other_packages_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "surprise.py").write_text("open('ran', 'w')\nclass Settings: pass\n")
    monkeypatch.chdir(tmp_path)
    code = b"\x80\x02}(X\x05\x00\x00\x00modelcsurprise\nSettings\n)\x81u."
    with zipfile.ZipFile("a.pth", "w") as archive:
        archive.writestr("a/data.pkl", code)
        archive.writestr("a/version", "3\n")
    with pytest.raises(FileError, match=r"holds no state dict \(its entries are model\)"):
        read_checkpoint(Path("a.pth"))
    assert not Path("ran").exists()


def test_whole_modules_are_no_weights(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "a.pth")
    with pytest.raises(FileError, match=r"holds no state dict; pass a \.pth file of one"):
        read_checkpoint(tmp_path / "a.pth")
