"""Detectors train, resume, validate, predict and deploy like every other model."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.data.detection import ObjectConfig, read_objects
from spikesight.data.segmentation.video import VideoWriter, read_frames
from spikesight.errors import UserError
from spikesight.objects import Detections, Objects
from spikesight.training import TrainConfig, TrainingInterrupted, from_mapping, train
from spikesight.training.runs.card import Card
from spikesight.training.tasks.detection.evaluation import DetectionFigures
from spikesight.training.tasks.detection.pictures import match
from spikesight.training.tasks.detection.results import FoundIn, write_found
from spikesight.training.tasks.options import ValidationOptions
from spikesight.training.tasks.validation import sample_images, training_batches, validate
from tests.boxed_photos import write_cells
from tests.reports.reading import assert_self_contained

from .child import needs_gloo, start_pair
from .conftest import stop_after

CLOCK = {"seconds", "images_per_second", "peak_memory"}
TRUNK = {
    "widths": [4, 4, 8, 8, 8],
    "depths": [0, 1, 0, 1, 0],
    "heads": 2,
    "mlp_ratio": 1,
    "separable_kernel": 3,
}
SMALL: dict[str, Any] = {
    "task": "detection",
    "model": {
        "name": "spike_det_nano",
        "arguments": {"trunk_options": TRUNK, "finest": 4, "width": 8, "depth": 1},
    },
    "objects": {
        "format": "digit_scenes",
        "image_size": [32, 64],
        "background": "dark",
        "scenes": 24,
        "validation_scenes": 6,
        "flip": True,
    },
    "epochs": 2,
    "batch_size": 4,
    "limit_batches": 4,
    "log_every": 2,
}
Build = Callable[..., TrainConfig]


@pytest.fixture
def small(tmp_path: Path) -> Build:
    """Builds a quick run; "objects__workers=1" changes a nested field."""

    def build(output: str = "run", **changes: Any) -> TrainConfig:
        values = copy.deepcopy(SMALL) | {"output": str(tmp_path / output)}
        for key, value in changes.items():
            place = values
            *parents, name = key.split("__")
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = value
        return from_mapping(TrainConfig, values)

    return build


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that has learned for a moment."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(
        from_mapping(TrainConfig, copy.deepcopy(SMALL) | {"output": str(folder), "precision": "no"})
    )
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of sizes that the detector was not trained on, a small and a numbered one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, size in (("12.png", (50, 90)), ("000000000007.jpg", (120, 60))):
        Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)).save(folder / name)
    return folder


def rows(config: TrainConfig) -> list[dict[str, str]]:
    with (Path(config.output) / "metrics.csv").open() as file:
        return [{k: v for k, v in r.items() if k not in CLOCK} for r in csv.DictReader(file)]


def tensors(config: TrainConfig) -> dict[str, torch.Tensor]:
    last = Path(config.output) / "last"
    return load_file(last / "model.safetensors") | load_file(last / "training.safetensors")


def test_runs_resume_bit_for_bit_and_validate_alike(small: Build) -> None:
    options: dict[str, Any] = {"ema__decay": 0.9, "firing_rate__weight": 0.1}
    straight, broken = small("straight", **options), small("broken", **options)
    result = train(straight)
    broken.resume = True
    with pytest.raises(TrainingInterrupted):
        train(broken, stop_after(6))
    assert train(broken) == type(result)(Path(broken.output), result.best, result.last)
    assert rows(broken) == rows(straight)
    expected, got = tensors(straight), tensors(broken)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []

    assert isinstance(result.last, DetectionFigures)
    assert result.last.images == 6
    again = validate(result.folder / "last", ValidationOptions(batch_size=5))
    assert again.columns() == pytest.approx(result.last.columns(), abs=1e-3)
    assert {"val_ap", "val_ap50", "val_ap75"} <= set(rows(straight)[0])
    with pytest.raises(ValueError, match="holds a detector where a classifier belongs"):
        Card.read(result.folder / "last", "classification")


def test_figures_say_what_better_is() -> None:
    figures = DetectionFigures(40.0, 80.0, 30.0, {"cell": 80.0}, 5, 0.1)
    assert figures.better_than(None)
    assert figures.better_than(DetectionFigures(39.0, 90.0, 30.0, {}, 5, 0.1))
    assert figures.better_than(DetectionFigures(40.0, 79.0, 30.0, {}, 5, 0.1))
    assert not figures.better_than(figures)
    assert figures.summary() == "AP 40.00 %  AP50 80.00 %  AP75 30.00 %  firing 0.100"
    assert figures.by_class() == ("AP50 (%)", {"cell": 80.0})


@needs_gloo
def test_two_processes_validate_like_one(run: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = start_pair(["val", str(run), "--batch_size=2"], log)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]
    alone = validate(run)
    said = "\n".join(file.read_text() for file in sorted(tmp_path.glob("log*")))
    assert f"{alone.summary()}  on 6 images" in said


def test_val_prints_a_row_per_class_and_draws_what_was_found(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["val", str(run), f"--pictures={tmp_path / 'pictures'}"]) == 0
    said = capsys.readouterr().out
    assert "AP50 (%)" in said
    assert "on 6 images" in said
    drawn = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in drawn] == [f"photo_{number}.png" for number in range(1, 7)]
    with Image.open(drawn[0]) as picture:
        assert picture.width == 2 * 13 * 64 + 6
        assert picture.info["Software"] == "spikesight predict"
    # Boxes of a lower score than asked for are not measured.
    assert main(["val", str(run), "--view.score_threshold=1.0"]) == 0
    assert "AP 0.00 %" in capsys.readouterr().out


def test_predict_writes_overlays_and_tables(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, table = tmp_path / "overlays", tmp_path / "found.json"
    words = ["predict", str(run), str(photos), f"--output={output}", f"--table={table}"]
    assert main([*words, "--view.shown_score=0.0", "--view.score_threshold=0.0"]) == 0
    said = capsys.readouterr().out
    assert "12_overlay.png" in said
    assert f"boxes in {table}" in said
    page = tmp_path / "seen.html"
    assert main(["predict", str(run), str(photos), f"--html={page}"]) == 0
    assert f"page in {page}" in capsys.readouterr().out
    assert "000000000007.jpg" in assert_self_contained(page.read_text()).text
    assert sorted(f.name for f in output.iterdir()) == [
        "000000000007_overlay.png",
        "12_overlay.png",
    ]
    records = json.loads(table.read_text())
    assert {record["image_id"] for record in records} == {7, 12}
    assert {record["category_id"] for record in records} <= set(range(1, 11))
    for record in records:
        left, top, width, height = record["bbox"]
        right, bottom = {7: (60, 120), 12: (90, 50)}[record["image_id"]]
        assert min(left, top) >= 0
        assert min(width, height) > 0
        assert left + width <= right + 0.01
        assert top + height <= bottom + 0.01

    csv_table = tmp_path / "found.csv"
    shown = f"--view.shown_score={records[0]['score'] - 1e-6}"
    assert main(["predict", str(run), str(photos), f"--output={csv_table}", shown]) == 0
    with csv_table.open() as file:
        listed = list(csv.DictReader(file))
    assert 0 < len(listed) < len(records)
    assert listed[0].keys() >= {"file", "frame", "object", "class", "score", "left", "height"}
    # The overlays are no photos.
    assert main(["predict", str(run), str(output)]) == 2
    assert "pictures that predict wrote do not count" in capsys.readouterr().err


def test_frames_of_a_video_have_boxes(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from fractions import Fraction

    video = tmp_path / "drive.mp4"
    with VideoWriter(video, Fraction(10)) as writer:
        for shade in (40, 120, 200, 250):
            writer.write(torch.full((3, 64, 128), shade, dtype=torch.uint8))
    table = tmp_path / "found.json"
    words = ["predict", str(run), str(video), f"--output={tmp_path}", f"--table={table}"]
    assert main([*words, "--every=2", "--view.score_threshold=0.0"]) == 0
    frames = list(read_frames(tmp_path / "drive_overlay.mp4"))
    assert [tuple(frame.shape) for frame in frames] == [(3, 7 * 64, 7 * 128)] * 2
    assert {record["frame"] for record in json.loads(table.read_text())} == {1, 2}


def test_a_pipeline_answers_with_labels_scores_and_boxes(run: Path, photos: Path) -> None:
    answers = ss.pipeline(run)
    answers.finder.config.shown_score = 0.0
    photo = photos / "12.png"
    (alone, twice) = answers(photo), answers([photo, Image.open(photo)])
    assert twice == [alone, alone]
    assert alone[0].keys() == {"label", "score", "box"}
    assert alone[0]["label"] in [str(digit) for digit in range(10)]
    assert [entry["score"] for entry in alone] == sorted(
        (entry["score"] for entry in alone), reverse=True
    )
    assert 0 <= alone[0]["box"]["xmin"] < alone[0]["box"]["xmax"] <= 90
    named = ss.pipeline(run, labels=[f"digit {n}" for n in range(10)])
    named.finder.config.shown_score = 0.0
    assert named(photo)[0]["label"] == f"digit {alone[0]['label']}"
    card = Card.read(run / "best")
    told = ss.pipeline(ss.load(run / "best"), preprocessing=card.preprocessing)
    told.finder.config.shown_score = 0.0
    assert told(photo) == alone
    with pytest.raises(UserError, match="labels has 2 names and the detector 10 classes"):
        ss.pipeline(run, labels=["a", "b"])


def test_a_deployed_detector_is_measured_looked_at_and_compared(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = tmp_path / "net.spk"
    assert main(["deploy", str(run), str(net), "--images=4"]) == 0
    said = capsys.readouterr().out
    assert "integer == spikes: 0 mismatches" in said
    assert "AP on 6 validation images: trained" in said
    trained, deployed = validate(run), validate(net, ValidationOptions(run=run))
    assert isinstance(trained, DetectionFigures)
    assert isinstance(deployed, DetectionFigures)
    assert deployed.images == 6
    assert deployed.ap50 == pytest.approx(trained.ap50, abs=5)
    table = tmp_path / "found.csv"
    assert main(["predict", str(net), str(photos), f"--output={table}"]) == 0
    assert main(["verify", str(net), f"--run={run}", "--images=2"]) == 0
    assert main(["audit", str(net), f"--run={run}", "--images=2"]) == 0
    assert "Spike-driven: yes" in capsys.readouterr().out
    assert main(["energy", str(run), "--images=2"]) == 0


def test_inputs_are_as_large_as_in_training(run: Path) -> None:
    assert sample_images(run, count=3).shape == (3, 3, 32, 64)
    assert sample_images(run, {"image_size": [64, 96]}, count=2).shape == (2, 3, 64, 96)
    (batch,) = training_batches(run, count=4, batch_size=4)
    assert batch.shape == (4, 3, 32, 64)


def test_a_quantised_detector_is_trained_on(run: Path, small: Build, tmp_path: Path) -> None:
    start = tmp_path / "start"
    assert main(["quantize", str(run), str(start), "--images=8"]) == 0
    result = train(small("tuned", model__weights=str(start), model__bits=4, epochs=1))
    assert result.last.images == 6


def test_a_converted_folder_is_renamed(run: Path, tmp_path: Path) -> None:
    names = ",".join(f"digit {n}" for n in range(10))
    words = ["convert", str(run / "best"), str(tmp_path / "small"), f"--classes=[{names}]"]
    assert main([*words, "--image_size=[64,64]"]) == 0
    card = Card.read(tmp_path / "small")
    assert card.preprocessing.classes[3] == "digit 3"
    assert card.preprocessing.image_size == (64, 64)
    assert main([*words[:3], "--things=[a]"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__name": "metaspikformer_nano", "model__arguments": TRUNK}, "is no detector"),
        ({"detection__loss": {"focal": 1}}, "detection.loss: .*focal"),
        ({"model__num_classes": 12}, "the objects have 10 classes, and an object of another"),
        ({"objects__image_size": [32, 50]}, r"objects.image_size is \[32, 50\], but spike_det"),
        ({"mix__mixup": 0.2}, "mix is for classifiers and task is detection"),
        ({"objects__format": "coco"}, "needs objects.path"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str, small: Build) -> None:
    with pytest.raises(ValueError, match=message):
        train(small(**changes))


def test_other_tasks_refuse_detectors(small: Build) -> None:
    with pytest.raises(ValueError, match="is no segmenter"):
        train(small(task="semantic"))
    with pytest.raises(ValueError, match="is no classifier"):
        train(small(task="classification", data={"format": "digits", "image_size": 32}))


def test_a_detector_starts_from_another_of_its_sizes(run: Path, small: Build) -> None:
    arguments = {"trunk_options": TRUNK, "finest": 4, "width": 16, "depth": 1}
    with pytest.raises(ValueError, match="pass the sizes that it was trained with"):
        train(small("wider", model__weights=str(run), model__arguments=arguments))
    result = train(small("again", model__weights=str(run / "best"), epochs=1))
    assert result.last.images == 6


def box(*edges: float) -> list[float]:
    return [float(edge) for edge in edges]


def test_each_object_belongs_to_the_surest_box_of_its_class_that_fits() -> None:
    there = Objects(
        torch.tensor([box(0, 0, 10, 10), box(20, 0, 30, 10), box(50, 0, 90, 40)]),
        torch.tensor([0, 1, 0]),
        torch.tensor([False, False, True]),
    )
    found = Detections(
        torch.tensor(
            [
                box(0, 0, 10, 9),  # right
                box(0, 0, 10, 10),  # the same object again: wrong
                box(20, 0, 30, 10),  # of another class: wrong
                box(60, 5, 70, 15),  # within a crowd of its class: neither
                box(60, 5, 70, 15),  # within a crowd of another class: wrong
            ]
        ),
        torch.tensor([0, 0, 0, 0, 1]),
        torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]),
    )
    outcome = match(found, there)
    assert outcome.right.tolist() == [True, False, False, False, False]
    assert outcome.neither.tolist() == [False, False, False, True, False]
    assert outcome.missed.tolist() == [False, True, False]


def test_coco_results_are_read_by_coco_evaluation(tmp_path: Path) -> None:
    from faster_coco_eval import COCO

    masks = torch.zeros(1, 20, 30, dtype=torch.bool)
    masks[0, 4:9, 3:13] = True
    found = Detections(
        torch.tensor([box(3, 4, 13, 9)]), torch.tensor([1]), torch.tensor([0.75]), masks
    )
    path = tmp_path / "results.json"
    write_found([FoundIn(Path("000005.jpg"), None, found)], path, ("a", "b"), (3, 8), 0.5)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 5, "height": 20, "width": 30}],
        "categories": [{"id": 3, "name": "a"}, {"id": 8, "name": "b"}],
        "annotations": [],
    }
    truth.createIndex()
    (loaded,) = truth.loadRes(str(path)).loadAnns([1])
    assert loaded["bbox"] == [3.0, 4.0, 10.0, 5.0]
    assert loaded["category_id"] == 8
    assert loaded["area"] == 50


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_a_folder_of_photos_with_boxes_is_trained_on(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cells(Path("cells"), kind)
    assert main(["train", "cells", "--epochs=1", "--objects.workers=0"]) == 0
    said = capsys.readouterr().out
    assert f"cells: {kind}, " in said
    assert "photos with boxes of 1 classes to learn from" in said
    assert "chosen: spike_det_nano, from scratch; 64 x 64 pixels, 1 epoch(s)" in said
    assert "done: best validation AP" in said
    assert main(["val", "runs/cells", "--data.workers=0"]) == 0
    again = ["train", "cells", "--epochs=1", "--resume", "--objects.workers=0"]
    assert main(again) in (0, 2)
    source = read_objects(ObjectConfig(format=kind, path="cells"), "val")
    assert source.classes.names == ("cell",)
