"""The script of the pre-training experiments, with a few updates on digits."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmark_scripts import load_script

SHORT = ["--format=digits", "--data=", "--channels=1", "--image-size=8", "--width=8"]
SHORT += ["--epochs=2", "--batches=2", "--batch-size=16"]


@pytest.fixture
def script() -> ModuleType:
    return load_script("pretraining")


def test_runs_are_not_repeated(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SHORT, f"--output={tmp_path}", "--seeds", "0"]
    rows = ["2 blocks", "2 blocks, pre-trained", "softmax attention"]
    script.main([*words, "--only", *rows])
    measured = script.read(tmp_path / "results.csv")
    assert [row["row"] for row in measured] == rows
    assert (tmp_path / "runs" / "2_blocks_pre-trained_0_start" / "reconstructions").is_dir()
    script.main([*words, "--only", *rows])
    assert script.read(tmp_path / "results.csv") == measured
    capsys.readouterr()
    script.main([f"--output={tmp_path}", "--table"])
    shown = capsys.readouterr().out
    assert "`images=64 " in shown
    assert f" {float(measured[0]['top1']):.2f} |" in shown
    assert "| SCS for SPS | + (V2 over V1) | not run | 0 | not run |" in shown
    assert shown.count("open (one seed)") == 2


def test_every_row_sees_the_same_images(script: ModuleType) -> None:
    names = {"output": Path("x"), "format": "digits", "data": "", "channels": 1, "image_size": 8}
    names |= {"width": 8, "epochs": 4, "batches": 3, "batch_size": 16}
    options = type("Options", (), names)
    for row in script.ROWS:
        configs = script.configurations(row, 0, options)
        assert sum(config.epochs for config in configs) == 4
        assert {config.limit_batches for config in configs} == {3}
        assert configs[-1].task == "classification"
    asked = {name for q in script.QUESTIONS for name in (q.row, q.reference)}
    assert asked == set(script.ROWS)


def test_missing_data_is_said(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main([f"--output={tmp_path}", f"--data={tmp_path / 'nothing.tar'}"])
    assert "nothing.tar; pass --data PATH" in capsys.readouterr().out
