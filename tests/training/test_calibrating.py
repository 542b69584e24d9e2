"""A run that ended is deployed without its data, as these would have deployed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spikesight.commands.parser import main
from spikesight.deployment.calibration_file import read_calibration
from spikesight.deployment.digest import full_digest_of
from spikesight.deployment.network import Deployed
from spikesight.files.calibration import CALIBRATION
from spikesight.training import TrainConfig, train
from spikesight.training.calibrating import record_calibration


def test_a_run_is_deployed_without_its_data(
    tiny: Callable[..., TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tiny(epochs=1, licence="CC0-1.0"))
    best = Path("run", "best")
    recorded = read_calibration(best)
    assert recorded is not None
    capsys.readouterr()
    assert main(["deploy", "run", "here.spk", "--images=8"]) == 0
    said = capsys.readouterr().out
    assert f"calibrated by what training recorded in {best / CALIBRATION}" in said
    assert "top-1 on" in said

    (best / CALIBRATION).unlink()
    record_calibration("run")
    again = read_calibration(best)
    assert again is not None
    assert again.peak == recorded.peak
    assert main(["convert", "run", "small", "--half"]) == 0
    assert main(["convert", "run", "small", "--half"]) == 0  # over an earlier conversion
    assert read_calibration(Path("small")) is not None

    card = json.loads((best / "run.json").read_text())
    assert card["licence"] == "CC0-1.0"
    card["data"] |= {"format": "tar", "path": "gone.tar"}
    (best / "run.json").write_text(json.dumps(card))
    assert main(["deploy", "run", "net.spk", "--licence=MIT"]) == 0
    said = capsys.readouterr().out
    assert "calibrated by what training recorded" in said
    assert "--photos=FOLDER" not in said
    net = Deployed.load("net.spk")
    assert json.loads(net.card or "")["licence"] == "MIT"
    assert full_digest_of(net.graph) == full_digest_of(Deployed.load("here.spk").graph)
    assert main(["deploy", "run", "net.spk", "--licence="]) == 2
    assert "licence: expected" in capsys.readouterr().err

    Path("small", CALIBRATION).write_bytes((best / CALIBRATION).read_bytes())
    assert main(["deploy", "small", "small.spk"]) == 2
    assert "weights: it was measured with other weights" in capsys.readouterr().err
