"""Commands that write a model's folder delete nothing but what they wrote before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.training import TrainConfig, train

Build = Callable[..., TrainConfig]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("command", ["quantize", "convert"])
def test_outputs_keep_what_others_wrote(
    command: str, tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(epochs=1, limit_batches=1)).folder
    photos, file, other = tmp_path / "photos", tmp_path / "file", tmp_path / "other"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"cat")
    file.write_bytes(b"text")
    other.mkdir()
    (other / "config.json").write_text("{}")
    (other / "model.safetensors").write_bytes(b"another library's")
    before = contents(tmp_path)
    for source, output, message in (
        (run, photos, "holds something else than an earlier"),
        (run, other, "holds something else than an earlier"),
        (run, run, "holds something else than an earlier"),
        (run / "last", run / "last", "is what is read; pass another output"),
        (run, run / "best", "is what is read; pass another output"),
        (run / "last", run / "best", "is the model of a run"),
        (run, file, "is a file; pass a folder"),
    ):
        assert message in error_of([command, str(source), str(output)], capsys), output
        assert contents(tmp_path) == before


def test_outputs_replace_earlier_ones(
    tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny(epochs=1, limit_batches=1)).folder
    quantised, converted, empty = tmp_path / "four", tmp_path / "weights", tmp_path / "empty"
    empty.mkdir()
    words = ["quantize", str(run), str(quantised), "--images=32", "--accuracy=false"]
    assert main(words) == 0
    assert main([*words, "--bits=3"]) == 0
    assert ss.load(quantised).recipe["quantization"]["bits"] == 3
    for output in (converted, empty):
        assert main(["convert", str(run), str(output)]) == 0
        assert main(["convert", str(run), str(output), "--half"]) == 0
        assert contents(output).keys() == {
            *("config.json", "model.safetensors", "run.json", "calibration.safetensors"),
        }

    before = contents(tmp_path)
    words[2] = str(converted)
    assert "else than an earlier quantised model" in error_of(words, capsys)
    words = ["convert", str(run), str(tmp_path / "packed"), "--packed"]
    assert "can be packed" in error_of(words, capsys)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_keeps_a_folder_named_best(tiny: Build, tmp_path: Path) -> None:
    config = tiny(epochs=1, limit_batches=1)
    photo = tmp_path / "run" / "best" / "cat.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"cat")
    with pytest.raises(ValueError, match="has a best/ that holds something else than a model"):
        train(config)
    assert contents(tmp_path / "run").keys() == {"best/cat.jpg"}
