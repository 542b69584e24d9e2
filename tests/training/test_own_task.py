"""A task in a file outside the package trains, goes on, validates, predicts and deploys."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.errors import UserError
from spikesight.training import Card, ClassificationTask
from spikesight.training.tasks.table import (
    find_task,
    register_task,
    task_names,
    tasks_that_say,
)

BALANCED = '''
"""Rare classes count as much as common ones, in the loss and in what is measured."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import cross_entropy

import spikesight as ss
from spikesight.training import ClassificationTask, Figures, Objective, show_all


@dataclass(frozen=True)
class BalancedFigures(Figures):
    COLUMNS: ClassVar = ("balanced",)
    balanced: float
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()

    def better_than(self, other):
        return other is None or self.balanced > other.balanced

    def headline(self):
        return f"balanced accuracy {self.balanced:.2f} %"

    def summary(self):
        return self.headline() + self.firing()


class BalancedObjective(Objective):
    def task_loss(self, images, output, targets):
        counts = torch.bincount(targets, minlength=output.shape[1]).clamp(min=1)
        return cross_entropy(output, targets, 1 / counts)


@ss.register_task
class BalancedTask(ClassificationTask):
    name = "balanced"
    called = "a balanced classifier"
    figures = BalancedFigures

    def objective(self, model, device):
        return BalancedObjective(self.config, model)

    @classmethod
    @torch.no_grad()
    def measure(cls, model, batches, card, accelerator, limit_batches=None):
        counts = torch.zeros(2, len(card.preprocessing.classes))

        def show(batch):
            images, labels = batch
            inputs = card.preprocessing.batch_transform(images.to(accelerator.device), None)
            right = model(inputs).argmax(1).cpu() == labels
            counts[0] += torch.bincount(labels[right], minlength=counts.shape[1])
            counts[1] += torch.bincount(labels, minlength=counts.shape[1])
            yield len(images)

        images, rate, silent = show_all(model, batches, accelerator, limit_batches, show)
        right, seen = accelerator.reduce(counts.to(accelerator.device), "sum").cpu()
        recall = right[seen > 0] / seen[seen > 0]
        return BalancedFigures(100 * float(recall.mean()), images, rate, silent)
'''


def test_a_task_of_a_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("balanced_task.py").write_text(BALANCED)
    monkeypatch.setitem(sys.modules, "balanced_task", None)  # type: ignore[arg-type]
    del sys.modules["balanced_task"]
    train = ["--import=balanced_task.py", "train", "--task=balanced", "--output=run"]
    train += ["--model.name=metaspikformer_nano", "--data.format=digits", "--data.channels=1"]
    train += ["--data.image_size=16", "--limit_batches=2", "--device=cpu"]
    assert main([*train, "--epochs=1"]) == 0
    assert main([*train, "--epochs=2", "--resume"]) == 0
    assert "balanced accuracy" in capsys.readouterr().out
    card = Card.read(Path("run/best"))
    assert (card.task, card.kind.called) == ("balanced", "a balanced classifier")
    (part,) = json.loads(Path("run/best/run.json").read_text())["parts"]
    assert (part["kind"], part["file"]) == ("task", "balanced_task.py")
    assert main(["val", "run", "--limit_batches=1"]) == 0
    assert "balanced accuracy" in capsys.readouterr().out
    for words, said in (
        (["val", "run", "--batch_size=0"], "batch_size is 0"),
        (["predict", "run", ".", "--view.flip=true"], "view is for segmenters"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert main(["deploy", "run", "net.spk", "--images=4", "--accuracy=false"]) == 0
    Image.new("L", (16, 16), 99).save("a.png")
    assert main(["predict", "net.spk", "a.png", "--output=guesses.csv"]) == 0
    assert "guesses in guesses.csv" in capsys.readouterr().out
    (best,) = ss.pipeline("run", device="cpu")("a.png", top_k=1)
    assert best["label"] in card.preprocessing.classes


def test_names_of_spikesights_tasks_are_taken() -> None:
    class Other(ClassificationTask):
        name = "semantic"

    with pytest.raises(UserError, match="there is a task 'semantic' already"):
        register_task(Other)
    own = ["classification", "semantic", "panoptic", "detection", "instances", "masked_image"]
    assert task_names()[: len(own)] == own
    with pytest.raises(UserError, match=r"task is 'x'; pass one of .*--import the file"):
        find_task("x")


@pytest.mark.parametrize("method", ["reads", "suits"])
def test_what_an_own_task_inherits_is_said_by_the_other_one(method: str) -> None:
    names = [task.name for task in tasks_that_say(method)]
    own = ["masked_image", "instances", "detection", "panoptic", "semantic", "classification"]
    assert names == own


def test_a_card_of_an_unknown_task_names_its_file(tmp_path: Path) -> None:
    part = {"kind": "task", "name": "gone", "file": "gone.py", "sha256": "0" * 64}
    (tmp_path / "run.json").write_text(json.dumps({"task": "gone", "parts": [part]}))
    with pytest.raises(UserError, match=r"made with the task 'gone' of gone\.py .*--import gone"):
        Card.read(tmp_path)
