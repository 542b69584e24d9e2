"""The low-bit ablation's script, with a few updates on digits."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmark_scripts import load_script

SHORT = ["--format=digits", "--data=", "--image-size=8", "--epochs=1", "--batches=2"]


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return load_script("ablation_low_bit")


def test_runs_are_not_repeated(
    ablation: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SHORT, f"--output={tmp_path}", "--seeds", "0"]
    ablation.main([*words, "--only", "4 bits, IE-LIF, MPRF, FGD"])
    measured = ablation.read(tmp_path / "results.csv")
    assert [row["row"] for row in measured] == ["ann twin", "4 bits, IE-LIF, MPRF, FGD"]
    ablation.main([*words, "--only", "4 bits, IE-LIF, MPRF, FGD"])
    assert ablation.read(tmp_path / "results.csv") == measured
    capsys.readouterr()
    ablation.main([f"--output={tmp_path}", "--table"])
    shown = capsys.readouterr().out
    assert f"| ann twin | {float(measured[0]['top1']):.2f} |" in shown
    assert "| FGD | +1.7 | not run | 0 | not run |" in shown


def test_every_row_can_be_configured_and_is_asked_for(ablation: ModuleType) -> None:
    options = {"output": Path("x"), "model": "metaspikformer_nano", "format": "digits", "data": ""}
    options |= {"image_size": 8, "channels": 1, "epochs": 1, "batches": 2, "batch_size": 32}
    values = type("Options", (), options | {"fgd_weight": 0.1})
    folders = {ablation.configuration(row, 0, values).output for row in ablation.ROWS}
    assert len(folders) == len(ablation.ROWS)
    asked = {name for q in ablation.QUESTIONS for name in (q.row, q.reference)}
    assert asked == set(ablation.ROWS)


def test_verdicts() -> None:
    answer = load_script("paired").answer
    assert answer([], "+1.0") == ("not run", "not run")
    assert answer([2.0], "+1.0") == ("+2.00", "open (one seed)")
    # Standard error 0.1 * sqrt(1 / 3), Student's t with two degrees of freedom 4.303.
    assert answer([0.9, 1.0, 1.1], "+1.0") == ("+1.00 ± 0.25", "open (3 of 5 seeds)")
    assert answer([-1.0, 0.0, 1.0], "+1.0")[1] == "inconclusive"
    five = [0.9, 1.0, 1.1, 0.95, 1.05]
    assert answer(five, "+1.0") == ("+1.00 ± 0.10", "the paper's sign")
    assert answer(five, "−2.5")[1] == "against the paper"
    assert answer([-gain for gain in five], "not reported")[1] == "worse"
