"""The command line, called in this process."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from spikesight.commands.parser import COMMANDS, main
from spikesight.processor import processor_name
from spikesight.training import TrainConfig

RECIPE = """
model:
  name: metaspikformer_nano
  arguments: {widths: [4, 4, 8, 8, 8], depths: [0, 1, 0, 1, 0], heads: 2}
data: {format: digits, channels: 1, image_size: 8}
schedule: {warmup_epochs: 0}
epochs: 1
batch_size: 32
limit_batches: 2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    torch.set_num_threads(1)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return str(path)


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_train_val_predict(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["train", recipe, "--optimizer.lr=5e-3", f"--output={run}", "--seed", "3"]
    words += ["--model.arguments.mlp_ratio=1", "--data.horizontal_flip", "--on-corrupt", "skip"]
    assert main(words) == 0
    config = TrainConfig.load(run / "config.yaml")
    assert (config.optimizer.lr, config.seed, config.epochs) == (5e-3, 3, 1)
    assert config.model.arguments["mlp_ratio"] == 1
    assert config.model.arguments["heads"] == 2
    assert config.data.horizontal_flip
    assert config.data.on_corrupt == config.scenes.on_corrupt == "skip"
    assert config.output == str(run)

    assert main([*words, "--resume", "--device=cpu"]) == 0
    assert main(words) == 2
    assert "holds a run already" in error_of(capsys)

    assert main(["val", str(run)]) == 0
    assert "on 359 images" in capsys.readouterr().out
    photos = tmp_path / "photos" / "7"
    photos.mkdir(parents=True)
    for index in range(3):
        Image.effect_noise((20, 30), 80).save(photos / f"{index}.png")
    other = [f"--data.path={photos.parent}", "--data.format=folder", "--split=all"]
    assert main(["val", str(run), *other]) == 0
    assert "on 3 images" in capsys.readouterr().out

    sheet = tmp_path / "sheet.png"
    assert main(["predict", str(run / "best"), str(photos), f"--output={sheet}"]) == 0
    assert "1.png" in capsys.readouterr().out
    with Image.open(sheet) as image:
        assert min(image.size) > 300
    files = [str(photos / "0.png"), str(photos / "2.png")]
    assert main(["predict", str(run), *files, f"--output={sheet}"]) == 0
    shown = capsys.readouterr().out
    assert "2.png" in shown
    assert "1.png" not in shown


def test_deploy_verify_audit_export_bench(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "net.spk"
    assert main(["train", recipe, f"--output={run}"]) == 0
    capsys.readouterr()

    assert main(["deploy", str(run), str(file), "--images=64", "--weight-bits=4"]) == 0
    shown = capsys.readouterr().out
    assert "integer == spikes: 0 mismatches" in shown
    assert "top-1 on 359 validation images: trained" in shown
    assert f"{file.stat().st_size:,} bytes" in shown
    assert main(["deploy", str(run), str(tmp_path / "net.bin")]) == 2
    assert ".spk" in error_of(capsys)

    assert main(["verify", str(file), f"--run={run}", "--against=spikes,onnx", "--images=4"]) == 0
    assert "integer == spikes == onnx: 0 mismatches" in capsys.readouterr().out
    assert main(["verify", str(file)]) == 2
    assert "--run=FOLDER" in error_of(capsys)

    assert main(["audit", str(file), f"--run={run}", "--images=8"]) == 0
    audited = capsys.readouterr().out
    assert "Spike-driven: yes" in audited
    assert main(["audit", str(run), "--images=8", f"--html={tmp_path / 'a.html'}"]) == 0
    assert "mean of 8" in capsys.readouterr().out
    assert "Audit of a spiking network" in (tmp_path / "a.html").read_text()

    assert main(["energy", str(file), f"--run={run}", "--images=8"]) == 0
    costs = capsys.readouterr().out
    assert "eq. 30" in costs
    assert "softmax attention nJ" in costs
    assert main(["energy", str(file)]) == 2
    assert "--run=FOLDER" in error_of(capsys)
    words = ["--images=8", "--prices=movement,paper", f"--html={tmp_path / 'e.html'}"]
    words += [f"--output={tmp_path / 'e.json'}", f"--beside={run},{run}"]
    assert main(["energy", str(file), f"--run={run}", *words]) == 0
    said = capsys.readouterr().out
    assert "ANN of equal bits" in said
    assert "* where no other network is better in both" in said
    assert len(json.loads((tmp_path / "e.json").read_text())) == 2
    assert "Accuracy against energy" in (tmp_path / "e.html").read_text()
    assert "What if the same spikes" in (tmp_path / "e.html").read_text()

    assert main(["export", str(file), str(tmp_path / "net.onnx")]) == 0
    assert "net.onnx" in capsys.readouterr().out
    assert main(["export", str(file), str(tmp_path / "net.tflite")]) == 2
    assert ".onnx" in error_of(capsys)

    assert main(["bench", str(file), "--rounds=1", "--batch=2", "--threads=1"]) == 0
    timed = capsys.readouterr().out
    assert "integers, OpenVINO (" in timed
    assert f"1 threads of {processor_name()}; every form equals the integers" in timed
    assert main(["bench", str(file), "--threads=0"]) == 2
    assert "threads is 0; pass 1 or more" in error_of(capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(example in text for example in COMMANDS[command].examples)


def test_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text and c.summary in text for name, c in COMMANDS.items())


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "*15m"]) == 0
    text = capsys.readouterr().out
    assert "metaspikformer_15m" in text
    assert "15.1" in text
    assert "nano" not in text
    assert "equivalent" not in text
    assert main(["models", "*m", "--sizes"]) == 0
    text = capsys.readouterr().out
    assert all(size in text for size in ("1.8", "3.9", "6.8"))
    assert "spikingresformer_m" in text
    assert "no graph" not in text
    assert main(["models", "resnet*"]) == 2
    assert "no model matches" in error_of(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no command 'trian'"),
        (["train", "nowhere.yaml"], "there is no configuration file nowhere.yaml"),
        (["train", "RECIPE"], "output"),
        (["train", "RECIPE", "--output=r", "--optimizer.lr=-1"], "optimizer.lr is -1.0; pass"),
        (["train", "RECIPE", "--output=r", "--epoks=1"], "epoks"),
        (["train", "RECIPE", "--output=r", "--epochs=many"], "epochs"),
        (["train", "RECIPE", "--output=r", "--model.name=vgg"], "no model 'vgg'"),
        (["train", "RECIPE", "--output=r", "--accumulation=3"], "limit_batches"),
        (["val", "nowhere"], "no trained model in nowhere"),
        (["predict", "nowhere", "x.png"], "no trained model in nowhere"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    recipe: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([recipe if word == "RECIPE" else word for word in words]) == 2
    assert message in error_of(capsys)


def test_debug_shows_where(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        main(["val", str(tmp_path), "--debug"])


def test_from_is_short_for_starting_weights(recipe: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", recipe, f"--output={first}"]) == 0
    words = ["--from", str(first), "--model.num_classes=12"]
    assert main(["train", recipe, f"--output={second}", *words]) == 0
    assert TrainConfig.load(second / "config.yaml").model.weights == str(first)


def test_later_files_override_earlier_ones(recipe: str, tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text(yaml.safe_dump({"output": str(tmp_path / "run"), "seed": 5}))
    assert main(["train", recipe, str(second)]) == 0
    assert TrainConfig.load(tmp_path / "run" / "config.yaml").seed == 5
