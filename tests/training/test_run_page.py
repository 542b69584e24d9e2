"""The page of a run: written for every task, after every validation, and never a reason to fail."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spikesight.commands.parser import main
from spikesight.neurons.recording import spiking_neurons
from spikesight.pretrained import load
from spikesight.training import TrainConfig, TrainingInterrupted, train
from spikesight.training.config import from_mapping
from spikesight.training.run_page import RunPage
from spikesight.training.tasks.classification.findings import ClassifierFindings
from spikesight.training.tasks.findings import Worst
from tests.reports.reading import Reader, assert_self_contained

from .conftest import stop_after
from .test_detection import SMALL as BOXES
from .test_instances import SMALL as INSTANCES
from .test_masked_image import masked
from .test_segmentation import SMALL as SCENES

Build = Callable[..., TrainConfig]


def read(folder: Path) -> Reader:
    return assert_self_contained((folder / "report.html").read_text(encoding="utf-8"))


def firing(folder: Path) -> list[dict[str, str]]:
    with (folder / "firing.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_classifier_shows_how_it_learned(tiny: Build) -> None:
    config = tiny(epochs=3, validate_every=2, ema__decay=0.5)
    result = train(config)
    page = read(result.folder)
    for heading in (
        "How it learned",
        "What it takes for what",
        "Its worst mistakes",
        "How often neurons fire",
        "What it costs",
        "How to go on",
    ):
        assert heading in page.text
    assert page.tags.count("h1") == 1
    assert "3 of 3 epochs" in page.text
    assert f"{result.best.headline().split()[1]} %" in page.text
    assert f"spikesight deploy {result.folder}" in page.text
    assert "--resume" not in page.text
    layers = list(spiking_neurons(load(result.folder / "last")))
    rows = firing(result.folder)
    assert [list(row) for row in rows] == [["epoch", *layers]] * 2
    assert [row["epoch"] for row in rows] == ["2", "3"]
    mean = sum(float(rows[-1][layer]) for layer in layers) / len(layers)
    assert mean == pytest.approx(result.last.firing_rate, rel=1e-3)
    assert (result.folder / "report.html").stat().st_size < 1e6


def test_tensorboard_gets_rates_and_pictures(tiny: Build) -> None:
    result = train(tiny())
    board = EventAccumulator(str(result.folder / "tensorboard")).Reload()
    layers = list(spiking_neurons(load(result.folder / "last")))
    assert {f"firing/{layer}" for layer in layers} <= set(board.Tags()["scalars"])
    assert board.Tags()["images"] == ["validation/guesses"]
    assert [image.step for image in board.Images("validation/guesses")] == [1, 2]


def test_an_ann_twin_has_a_page_without_spikes(tiny: Build) -> None:
    result = train(tiny(model__neuron="relu", epochs=1))
    text = read(result.folder).text
    assert "How often neurons fire" not in text
    assert "What it costs" in text
    assert not (result.folder / "firing.csv").exists()


def test_a_broken_off_run_has_a_page_that_says_how_to_go_on(tiny: Build) -> None:
    config = tiny()
    with pytest.raises(TrainingInterrupted):
        train(config, stop_after(5))
    folder = Path(config.output)
    text = read(folder).text
    assert "1 of 2 epochs" in text
    assert f"spikesight train {folder / 'config.yaml'} --resume" in text
    config.resume = True
    train(config)
    assert "2 of 2 epochs" in read(folder).text
    assert [row["epoch"] for row in firing(folder)] == ["1", "2"]


@pytest.mark.parametrize(
    ("values", "heading", "tags"),
    [
        (SCENES | {"task": "semantic"}, "What it takes for what, by pixels", 3),
        (SCENES | {"task": "panoptic"}, "Its worst photos", 3),
        (BOXES, "By class: AP50 (%)", 3),
        (INSTANCES, "Its worst photos", 3),
    ],
)
def test_every_task_has_its_part(
    values: dict[str, Any], heading: str, tags: int, tmp_path: Path
) -> None:
    values = copy.deepcopy(values) | {"output": str(tmp_path / "run"), "epochs": 1}
    result = train(from_mapping(TrainConfig, values))
    page = read(result.folder)
    assert heading in page.text
    assert len(page.pictures) >= 3
    assert (result.folder / "report.html").stat().st_size < 3e6
    board = EventAccumulator(str(result.folder / "tensorboard")).Reload()
    assert len(board.Tags()["images"]) == tags


def test_what_a_trunk_guesses_is_on_its_page(
    tiny: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = masked(tiny, epochs=1)
    result = train(config)
    page = read(result.folder)
    assert len(page.pictures) == 1
    assert "Its energy is not counted" in page.text
    assert f"--from {result.folder}" in page.text
    assert "warning" not in capsys.readouterr().out

    def nowhere(*_: object) -> Path:
        return Path("gone.png")

    kind = "spikesight.training.tasks.masked_image.task.MaskedImageTask.illustrate"
    monkeypatch.setattr(kind, nowhere)
    result = train(masked(tiny, "other", epochs=1))
    assert "What it makes of a few photos" not in read(result.folder).text
    out = capsys.readouterr().out
    assert "warning: the page lacks gone.png" in out
    assert "warning: TensorBoard lacks the pictures" in out


def test_a_full_disk_is_a_warning(
    tiny: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spikesight.training.run_page.write_text", full)
    result = train(tiny(epochs=1))
    assert not (result.folder / "report.html").exists()
    out = capsys.readouterr().out
    assert "report.html is not written: [Errno 28] No space left on device" in out
    assert "done: best validation" in out


def test_what_fails_in_a_tasks_part_is_a_warning(
    tiny: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(*_: object) -> None:
        raise RuntimeError("an odd picture")

    monkeypatch.setattr(ClassifierFindings, "note", odd)
    result = train(tiny(epochs=1))
    assert "How it learned" in read(result.folder).text
    assert "lacks what validation noticed: RuntimeError: an odd picture" in capsys.readouterr().out
    monkeypatch.setattr(RunPage, "_parts", odd)
    train(tiny("other", epochs=1))
    assert "report.html is not written: an odd picture" in capsys.readouterr().out


def test_another_runs_table_of_firing_is_refused(
    tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny()
    with pytest.raises(TrainingInterrupted):
        train(config, stop_after(5))
    (Path(config.output) / "firing.csv").write_text("epoch,elsewhere\n1,0.5\n")
    config.resume = True
    with pytest.raises(ValueError, match=r"firing\.csv: line 2 is none of a run of this kind"):
        train(config)
    assert main(["predict", config.output, "a.png", f"--output={config.output}/firing.csv"]) == 2


def test_mistakes_and_confusions_are_counted() -> None:
    findings, other = ClassifierFindings(["cat", "dog"]), ClassifierFindings(["cat", "dog"])
    images = torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8)
    logits = torch.tensor([[9.0, 0], [0, 1], [0, 2], [0, 1]])
    findings.note(images, torch.tensor([0, 0, 0, 1]), logits)
    other.note(images[:1], torch.tensor([1]), logits[:1])
    findings.merge(other)
    matrix, mistakes = findings.sections()
    cells = [line.split("<")[0] for line in matrix.split('">')[1:]]
    assert [cell for cell in cells if cell.isdigit()] == ["1", "2", "1", "1"]
    text = Reader(mistakes).text
    assert "3 of 5 validation images are wrong" in text
    assert text.index("100 %") < text.index("88 %") < text.index("73 %")
    assert "is dog" in text


def test_frames_of_events_are_shown_as_one_picture() -> None:
    findings = ClassifierFindings(["a"])
    findings.note(
        torch.randint(0, 3, (2, 4, 2, 300, 200), dtype=torch.uint8),
        torch.tensor([1, 0]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    )
    (sight,) = findings.sights()
    assert sight.picture.mode == "RGB"
    assert len(Reader("".join(findings.sections())).pictures) == 2


def test_the_worst_are_kept() -> None:
    worst, other = Worst[str](2), Worst[str](2)
    for score, item in ((1.0, "a"), (3.0, "b"), (1.0, "c"), (0.5, "d")):
        worst.add(score, item)
    assert not worst.wants(1.0)
    assert worst.wants(1.5)
    other.add(2.0, "e")
    worst.merge(other)
    assert worst.ranked() == [(3.0, "b"), (2.0, "e")]
