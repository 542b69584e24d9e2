"""Whatever is missing, damaged or in the way, the command line says so in one line."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.commands.table import COMMANDS, Command
from spikesight.deployment.network import Deployed
from spikesight.training.config import TrainConfig
from spikesight.training.runs.starting_weights import start_from
from tests.deployment.small_networks import deployed

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def let_models_raise(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the command `models` a function that raises, as if it stood in the package."""
    names = {"error": error}
    file = str(Path(ss.__file__).parent / "commands" / "models.py")
    exec(compile("def fail() -> None: raise error", file, "exec"), names)
    monkeypatch.setattr(sys.modules[__name__], "fail", names["fail"], raising=False)
    monkeypatch.setitem(COMMANDS, "models", Command(f"{__name__}:fail", "Raises.", ()))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    ss.create_model("metaspikformer_nano", num_classes=5, **SIZES).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no pickle at all " * 9, "cannot be read without executing code"),
        (b"", "cannot be read without executing code"),
        (b"PK" + bytes(64), "cannot be read"),
        (torch.zeros(3), "holds no state dict"),
        ([1, 2], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({"weight": torch.zeros(3)}, "the state dict is not Meta-SpikeFormer's"),
    ],
    ids=["junk", "empty", "archive", "tensor", "list", "no tensors", "foreign"],
)
def test_checkpoints_that_are_none(
    content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "authors.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    words = ["convert", str(path), str(tmp_path / "out"), "--family=metaspikformer"]
    line = error_of(words, capsys)
    assert message in line
    assert str(path) in line
    assert [file.name for file in tmp_path.iterdir()] == ["authors.pth"]


def test_configurations_that_a_family_does_not_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "authors.pth"
    torch.save({"q_conv.0.body.0.weight": torch.ones(8, 8, 1, 1)}, path)
    words = ["convert", str(path), str(tmp_path / "out"), "--family=metaspikformer"]
    line = error_of([*words, "--configuration.heads=8"], capsys)
    assert "metaspikformer takes no 'heads'; pass any of num_heads, steps" in line
    line = error_of([*words, "--configuration.num_heads=many"], capsys)
    assert "num_heads is 'many'; pass a whole number" in line


@pytest.mark.parametrize("kept", [0, 4, 2000])
def test_damaged_weights_are_named(
    kept: int, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    line = error_of(["convert", str(model_folder), str(tmp_path / "out")], capsys)
    assert f"{weights} is damaged" in line
    model = ss.create_model("metaspikformer_nano", num_classes=5, **SIZES)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .* pass another folder"):
        start_from(model, model_folder)


@pytest.mark.parametrize(
    "text", ["[]", '{"name": "metaspikformer_nano", "arguments": [1]}', '{"arguments": {}}', "{"]
)
def test_damaged_descriptions_are_named(text: str, model_folder: Path) -> None:
    (model_folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: .* copy it again, or pass another"):
        ss.load(model_folder)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_missing_runtimes_name_the_extra(
    runtime: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    net = Deployed(deployed(28, neuron="i_lif", levels=4))
    net.save(tmp_path / "net.spk")
    monkeypatch.setitem(sys.modules, runtime, None)
    output = tmp_path / ("net.onnx" if runtime == "onnx" else "net.xml")
    line = error_of(["export", str(tmp_path / "net.spk"), str(output)], capsys)
    assert "pip install 'spikesight[deploy]'" in line
    message = rf"{runtime} needs the package {runtime}; pip install 'spikesight\[deploy\]'"
    with pytest.raises(ImportError, match=message):
        net.verify(torch.zeros(1, 3, 28, 28), against=(runtime,))


@pytest.mark.parametrize("place", ["file/out", "folder"])
def test_places_that_cannot_be_written(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Deployed(deployed(28, neuron="i_lif", levels=4)).save(tmp_path / "net.spk")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.onnx").mkdir()
    output = tmp_path / f"{place}.onnx"
    assert str(tmp_path) in error_of(["export", str(tmp_path / "net.spk"), str(output)], capsys)


def test_folders_that_cannot_be_made(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    line = error_of(["convert", str(model_folder), str(tmp_path / "file" / "out")], capsys)
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epochs: x", 'recipe.yaml: Parser key "epochs"'),
        ("optimizer: {lr: .nan}", "recipe.yaml: optimizer.lr: is nan"),
        ("seed: 99999999999999999999", "recipe.yaml: seed: is a whole number of more than 64"),
        ("optimizer: {lr: -1}", "recipe.yaml: optimizer.lr is -1.0; pass a positive number"),
        ("label_smoothing: 2", "recipe.yaml: label_smoothing is 2.0; pass one in"),
        ("a: &a [*a]", "recipe.yaml: holds a value that contains itself"),
        ("epochs: 1\nepochs: 2", "recipe.yaml: epochs: is given twice"),
    ],
)
def test_configurations_name_file_and_field(
    text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model: {{name: metaspikformer_nano}}\noutput: {tmp_path / 'run'}\n{text}\n")
    assert named in error_of(["train", str(path)], capsys)
    with pytest.raises(ValueError, match=re.escape(named.split()[0])):
        TrainConfig.load(path)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 4 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
)
def test_too_little_memory_is_one_line(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    let_models_raise(error, monkeypatch)
    assert main(["models"]) == 1
    assert "too little memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ValueError("zip() argument 2 is shorter than argument 1"),
        RuntimeError("shapes do not fit"),
        TypeError("unsupported operand"),
        KeyError("weight"),
        AssertionError("unknown node"),
        ZeroDivisionError("division by zero"),
        ImportError("cannot import name"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_faults_of_the_code_are_shown_whole_and_ask_to_be_reported(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_models_raise(error, monkeypatch)
    with pytest.raises(type(error)) as raised:
        main(["models"])
    lines = "".join(traceback.format_exception(raised.value)).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f"spikesight {ss.__version__}, in `spikesight models`" in lines[-1]
    assert "please report it" in lines[-1]


def test_faults_end_the_process_with_a_traceback() -> None:
    words = (
        "from spikesight.commands import parser, table; "
        "table.COMMANDS['models'] = table.Command('math:nothing', '', ()); "
        "parser.main(['models'])"
    )
    run = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert run.returncode == 1
    assert "AttributeError" in run.stderr
    assert "please report it" in run.stderr.splitlines()[-1]
