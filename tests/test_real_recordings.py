"""Recordings cut into pieces, learned, deployed and proved, with a few updates."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikesight.data.events import save_events
from tests.benchmark_scripts import load_script
from tests.data.events.files import random_events


def test_recordings_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "left.npz", tmp_path / "right.npz"]
    for seed, file in enumerate(files):
        save_events(random_events(1800, 40, 30, seed), file)
    load_script("real_recordings").main(
        [*map(str, files), "--events=100", "--epochs=2", f"--output={tmp_path / 'out'}"]
    )
    said = capsys.readouterr().out
    assert "17 pieces" in said
    assert "integers against spikes: 0 mismatches in 4 pieces" in said
    assert (tmp_path / "out" / "pieces" / "left.gif").is_file()
    pieces = [
        len(list((tmp_path / "out" / "pieces" / p / "left").iterdir())) for p in ("train", "val")
    ]
    assert pieces == [13, 4]


def test_one_recording_is_no_question(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_script("real_recordings").main(["one.es"])
    assert "pass two recordings or more" in capsys.readouterr().err
