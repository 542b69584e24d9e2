"""Detectors of recordings train, validate, predict and deploy as detectors of photos do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.data.events import save_events
from spikesight.errors import UserError
from spikesight.training import TrainConfig, from_mapping, train
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import sample_images, training_batches, validate
from tests.data.detection.event_files import write_gen1
from tests.data.events.files import encode_dat, random_events, write

from .test_detection import SMALL

EVENTS = {"frames": 3, "window": 150_000}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of moving digits that has learned for a moment."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    values: dict[str, Any] = copy.deepcopy(SMALL) | {"output": str(folder), "epochs": 1}
    values["model"]["steps"] = 3
    values["objects"] = {
        "format": "moving_digits",
        "image_size": [32, 64],
        "scenes": 16,
        "validation_scenes": 6,
        "events": EVENTS,
    }
    result = train(from_mapping(TrainConfig, values))
    assert result.last.images == 6
    return folder


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Recordings of two formats and a photo among them."""
    folder = tmp_path / "recordings"
    save_events(random_events(4000, 64, 32, longest=100), folder / "a.npz")
    write(folder / "b.dat", encode_dat(random_events(4000, 100, 80, 1, longest=100)))
    Image.new("RGB", (9, 9)).save(folder / "c.png")
    return folder


def test_val_draws_what_was_found(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["val", str(run), f"--pictures={tmp_path / 'pictures'}"]) == 0
    assert "on 6 images" in capsys.readouterr().out
    assert len(list((tmp_path / "pictures").iterdir())) == 6
    assert main(["val", str(run), "--data.format=digit_scenes"]) == 2
    assert "the model learned from events" in capsys.readouterr().err


def test_predict_draws_over_the_last_frame(
    run: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, table = tmp_path / "overlays", tmp_path / "found.json"
    words = ["predict", str(run), str(recordings), f"--output={output}", f"--table={table}"]
    assert main([*words, "--view.score_threshold=0.0"]) == 0
    assert sorted(file.name for file in output.iterdir()) == ["a_overlay.png", "b_overlay.png"]
    with Image.open(output / "b_overlay.png") as picture:
        assert picture.width * 80 == picture.height * 100
    for record in json.loads(table.read_text()):
        left, top, width, height = record["bbox"]
        right, bottom = {"a.npz": (64, 32), "b.dat": (100, 80)}[record["file_name"]]
        assert min(left, top) >= 0
        assert left + width <= right + 0.01
        assert top + height <= bottom + 0.01
    capsys.readouterr()
    assert main(["predict", str(run), str(recordings / "c.png"), f"--output={output}"]) == 2
    assert "c.png: is no recording by its suffix" in capsys.readouterr().err


def test_a_pipeline_takes_recordings(run: Path, recordings: Path) -> None:
    answers = ss.pipeline(run)
    answers.finder.config.shown_score = 0.0
    found = answers(recordings / "a.npz")
    assert found[0].keys() == {"label", "score", "box"}
    assert answers([str(recordings / "a.npz")]) == [found]
    with pytest.raises(UserError):
        answers(Image.new("RGB", (64, 32)))


def test_a_deployed_detector_finds_the_same(
    run: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "net.spk"
    assert main(["deploy", str(run), str(net), "--images=4"]) == 0
    assert "integer == spikes: 0 mismatches" in capsys.readouterr().out
    deployed = validate(net, ValidationOptions(run=run))
    assert deployed.images == 6
    table = tmp_path / "found.csv"
    assert main(["predict", str(net), str(recordings), f"--output={table}", f"--run={run}"]) == 0
    assert main(["verify", str(net), f"--run={run}", "--images=2"]) == 0
    assert main(["energy", str(run), "--images=2"]) == 0


def test_inputs_are_frames(run: Path, recordings: Path) -> None:
    assert sample_images(run, count=3).shape == (3, 3, 2, 32, 64)
    assert sample_images(run, count=2, photos=recordings).shape == (2, 3, 2, 32, 64)
    (batch,) = training_batches(run, count=4, batch_size=4)
    assert batch.shape == (4, 3, 2, 32, 64)


def test_recordings_with_boxes_are_learned(tmp_path: Path) -> None:
    write_gen1(tmp_path / "gen1")
    values: dict[str, Any] = copy.deepcopy(SMALL) | {"output": str(tmp_path / "run"), "epochs": 1}
    values["model"]["steps"] = 3
    values["objects"] = {
        "format": "gen1",
        "path": str(tmp_path / "gen1"),
        "image_size": [64, 96],
        "flip": True,
        "events": EVENTS,
        "workers": 0,
    }
    result = train(from_mapping(TrainConfig, values))
    assert result.last.images == 4
    assert set(result.last.class_ap50) == {"car", "pedestrian"}
