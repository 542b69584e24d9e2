"""What the study of quiet networks says of its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmark_scripts import load_script

quiet = load_script("quiet")


def rows(*forms: str) -> list[object]:
    measured = (("free", 0.44, 85.4, 2.7, 2.1), ("half", 0.2, 85.0, 2.7, 1.6))
    return [
        quiet.Row(run, form, top1, 5000, nonzero, 0.1, 16, dense if form == "A" else native, 1, "C")
        for run, nonzero, top1, dense, native in measured
        for form in forms
    ]


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = rows("A", "B")
    quiet._write(tmp_path / "new" / "quiet.csv", written)
    assert quiet._read(tmp_path / "new" / "quiet.csv") == written
    lines = quiet.table(written).splitlines()
    assert lines[2].split()[:4] == ["free", "85.40", "0.440", "0.100"]
    assert lines[-1] == "5,000 validation photos; one photo, 1 thread(s) of C"


@pytest.mark.parametrize("forms", [("OpenVINO",), ("OpenVINO", "native")])
def test_the_curve_is_drawn_of_what_was_measured(tmp_path: Path, forms: tuple[str, ...]) -> None:
    quiet.draw(rows(*forms), tmp_path / "quiet.svg")
    text = (tmp_path / "quiet.svg").read_text()
    assert text.count("<svg") == 1


def test_without_photos_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet.main(["--results", str(tmp_path / "none.csv")])
    assert "pass --data" in capsys.readouterr().out
