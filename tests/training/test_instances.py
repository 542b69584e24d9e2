"""Detectors of boxes and masks train, resume, validate, predict and deploy what can be deployed."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.errors import UserError
from spikesight.inference.regions import paste_masks
from spikesight.models.mask_rcnn import RegionDetections
from spikesight.training import TrainConfig, TrainingInterrupted, from_mapping, train
from spikesight.training.tasks.instances.evaluation import InstanceFigures
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import sample_images, validate

from .child import needs_gloo, start_pair
from .conftest import stop_after

TRUNK = {
    "widths": [4, 4, 8, 8, 8],
    "depths": [0, 1, 0, 1, 0],
    "heads": 2,
    "mlp_ratio": 1,
    "separable_kernel": 3,
}
SMALL: dict[str, Any] = {
    "task": "instances",
    "model": {
        "name": "mask_rcnn_nano",
        "arguments": {
            "trunk_options": TRUNK,
            "width": 8,
            "box_hidden": 16,
            "mask_layers": 1,
            "proposals": 20,
            "regions": 16,
        },
    },
    "objects": {
        "format": "digit_scenes",
        "image_size": [32, 64],
        "background": "dark",
        "scenes": 24,
        "validation_scenes": 6,
        "flip": True,
    },
    "detection": {"view": {"shown_score": 0.0, "score_threshold": 0.0, "most": 10}},
    "epochs": 2,
    "batch_size": 4,
    "limit_batches": 4,
    "log_every": 2,
}


def _config(folder: Path, **changes: Any) -> TrainConfig:
    values = copy.deepcopy(SMALL) | {"output": str(folder)} | changes
    return from_mapping(TrainConfig, values)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that has learned for a moment."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(_config(folder))
    return folder


def test_runs_resume_bit_for_bit_and_validate_alike(tmp_path: Path) -> None:
    options: dict[str, Any] = {"ema": {"decay": 0.9}, "firing_rate": {"weight": 0.1}}
    straight, broken = (_config(tmp_path / name, **options) for name in ("straight", "broken"))
    result = train(straight)
    broken.resume = True
    with pytest.raises(TrainingInterrupted):
        train(broken, stop_after(6))
    assert train(broken).last == result.last
    expected, got = (
        load_file(Path(config.output) / "last" / "model.safetensors")
        for config in (straight, broken)
    )
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert isinstance(result.last, InstanceFigures)
    assert result.last.images == 6
    again = validate(result.folder / "last", ValidationOptions(batch_size=5))
    assert again.columns() == pytest.approx(result.last.columns(), abs=1e-3)
    with (result.folder / "metrics.csv").open() as file:
        columns = set(next(csv.DictReader(file)))
    assert {"val_mask_ap", "val_mask_ap50", "val_box_ap", "val_box_ap50"} <= columns


@pytest.mark.parametrize("memory", ["low", "lowest"])
def test_in_less_memory_the_same_is_learned(run: Path, tmp_path: Path, memory: str) -> None:
    train(_config(tmp_path / "run", memory=memory))
    folders = (run, tmp_path / "run")
    expected, got = (load_file(folder / "last" / "model.safetensors") for folder in folders)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


@needs_gloo
def test_two_processes_train_and_agree_with_val(tmp_path: Path) -> None:
    config = _config(tmp_path / "run", epochs=1, batch_size=2)
    (tmp_path / "c.yaml").write_text(config.dump())
    processes = start_pair(["train", str(tmp_path / "c.yaml")], tmp_path / "log")
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0], (tmp_path / "log.0").read_text()
    alone = validate(tmp_path / "run" / "last")
    assert alone.images == 6


def test_figures_say_what_better_is() -> None:
    figures = InstanceFigures(40.0, 80.0, 45.0, 85.0, {"cell": 80.0}, 5, 0.1)
    assert figures.better_than(None)
    assert figures.better_than(InstanceFigures(39.0, 90.0, 50.0, 90.0, {}, 5, 0.1))
    assert figures.better_than(InstanceFigures(40.0, 80.0, 44.0, 85.0, {}, 5, 0.1))
    assert not figures.better_than(figures)
    assert figures.summary() == (
        "mask AP 40.00 %  AP50 80.00 %  box AP 45.00 %  AP50 85.00 %  firing 0.100"
    )
    assert figures.by_class() == ("mask AP50 (%)", {"cell": 80.0})


def test_masks_are_shown_written_and_answered(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "7.png"
    pixels = np.random.default_rng(0).integers(0, 255, (50, 90, 3), np.uint8)
    Image.fromarray(pixels).save(photo)
    table = tmp_path / "found.json"
    options = [f"--output={tmp_path / 'o'}", f"--table={table}"]
    assert main(["predict", str(run), str(photo), *options]) == 0
    assert (tmp_path / "o" / "7_overlay.png").exists()
    entries = json.loads(table.read_text())
    assert entries
    assert all(entry["segmentation"]["size"] == [50, 90] for entry in entries)
    answers = ss.pipeline(run)(str(photo))
    assert len(answers) == len(entries)
    assert all(answer["mask"].size == (90, 50) for answer in answers)
    assert main(["val", str(run), f"--pictures={tmp_path / 'p'}"]) == 0
    assert "mask AP50 (%)" in capsys.readouterr().out
    assert list((tmp_path / "p").glob("*.png"))


def test_all_up_to_the_regions_is_deployed_and_finds_nothing_by_itself(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(run), "--images=2"]) == 0
    assert main(["energy", str(run), "--images=2"]) == 0
    assert "host code: region proposals" in capsys.readouterr().out
    place = tmp_path / "net.spk"
    assert main(["deploy", str(run), str(place), "--images=2"]) == 0
    forms = "--against=spikes,onnx"
    assert main(["verify", str(place), f"--run={run}", "--images=2", forms]) == 0
    assert main(["audit", str(place), f"--run={run}", "--images=2"]) == 0
    bench = ["bench", str(place), f"--run={run}", "--rounds=1", "--simulate=false"]
    assert main(bench) == 0
    capsys.readouterr()
    assert main(["val", str(place), f"--run={run}"]) == 2
    assert "gives the maps that propose regions" in capsys.readouterr().err


def test_a_quantised_detector_is_trained_on(run: Path, tmp_path: Path) -> None:
    assert main(["quantize", str(run), str(tmp_path / "four"), "--bits=4", "--images=4"]) == 0
    model = {**SMALL["model"], "weights": str(tmp_path / "four"), "bits": 4}
    result = train(_config(tmp_path / "run", model=model, epochs=1))
    assert isinstance(result.last, InstanceFigures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "spike_det_nano"}}, "does not return boxes with masks"),
        ({"task": "detection"}, "it does not return boxes"),
        ({"detection": {"loss": {"mask": 2.0}}}, "'mask'; weights are of objectness"),
        ({"detection": {"loss": {"masks": -1}}}, "detection.loss.masks is -1"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train(_config(tmp_path / "run", **changes))


def test_masks_are_pasted_into_their_boxes() -> None:
    probable = torch.zeros(2, 28, 28)
    probable[0] = 1.0
    probable[1, :, :14] = 1.0
    found = RegionDetections(
        torch.tensor([[10.0, 4.0, 30.0, 24.0], [30.0, 2.0, 62.0, 30.0]]),
        torch.tensor([0, 1]),
        torch.tensor([0.9, 0.8]),
        probable,
    )
    masks = paste_masks(found, (32, 64)).masks
    assert masks is not None
    truth = torch.zeros(2, 32, 64, dtype=torch.bool)
    truth[0, 4:24, 10:30] = True
    truth[1, 2:30, 30:46] = True
    overlap = (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))
    assert (overlap > 0.85).all()
    nothing = RegionDetections(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 28, 28)
    )
    assert paste_masks(nothing, (8, 8)).masks.shape == (0, 8, 8)


def test_inputs_are_as_large_as_in_training(run: Path) -> None:
    assert sample_images(run, count=3).shape == (3, 3, 32, 64)
