"""The script of the experiments with few labels, with a few updates on digits."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmark_scripts import load_script

SHORT = ["--format=digits", "--data=", "--channels=1", "--image-size=16", "--width=8"]
SHORT += ["--epochs=1", "--batches=1", "--pretraining-epochs=1", "--limit=1", "--length=0.01"]


@pytest.fixture
def script() -> ModuleType:
    return load_script("few_labels")


def test_rows_share_one_pre_training_and_are_not_repeated(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["10 %, spiking, scratch", "10 %, spiking, pre-trained", "1 %, spiking, pre-trained"]
    words = ["rows", *SHORT, f"--output={tmp_path}", "--seeds", "0", "--only", *rows]
    script.main(words)
    measured = script.read(tmp_path / "results.csv")
    assert [row["row"] for row in measured] == rows
    made = {folder.name for folder in (tmp_path / "runs").iterdir()}
    assert len(made) == 4
    assert "spiking_8_px_50_blank_muon" in made
    script.main(words)
    assert script.read(tmp_path / "results.csv") == measured
    capsys.readouterr()
    script.main(["rows", f"--output={tmp_path}", "--table", "--data="])
    shown = capsys.readouterr().out
    assert "| pre-training, spiking, 10 % of the labels |" in shown
    assert shown.count("open (one seed)") == 1


def test_settings_are_probed_once(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["untrained", "8 px, 50 %, blank"]
    words = ["settings", *SHORT, f"--output={tmp_path}", "--only", *names]
    script.main(words)
    script.main(words)
    measured = script.read(tmp_path / "settings.csv")
    assert [line["setting"] for line in measured] == names
    assert "| untrained | 128 |" in capsys.readouterr().out


def test_means_of_patches(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    script.main(["patches", *SHORT])
    shares = [line.split("|")[2] for line in capsys.readouterr().out.splitlines()[2:]]
    four, eight, sixteen = (float(share.removesuffix(" % ")) for share in shares)
    assert 100 > four > eight > sixteen


def test_long_rows_see_the_images_of_pre_training(script: ModuleType) -> None:
    photos = 45_000
    for labels in script.LABELS.values():
        further = (labels.of_all - labels.epochs) * labels.fraction * photos
        assert further == pytest.approx(12 * photos)
    asked = {name for q in script.QUESTIONS for name in (q.row, q.reference)}
    assert asked == set(script.ROWS)


def test_missing_data_is_said(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main(["rows", f"--output={tmp_path}", f"--data={tmp_path / 'nothing.tar'}"])
    assert "nothing.tar; pass --data PATH" in capsys.readouterr().out
