"""Training, validation and prediction on events, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.training import TrainConfig, train
from spikesight.training.runs.card import Card
from spikesight.training.tasks.validation import sample_images

from ..data.events.files import encode_es, random_events, write

EVENTS: dict[str, Any] = {
    "data": {
        "format": "digits",
        "image_size": 8,
        "channels": 2,
        "validation_fraction": 0.95,
        "horizontal_flip": True,
        "events": {
            "saccades": True,
            "frames": 2,
            "cache_mb": 0,
            "slicing": "time",
            "threshold": 0.5,
            "roll": 1,
            "rotation": 10,
            "cutout": 2,
            "drop": True,
        },
    },
    "model__steps": 2,
    "limit_batches": 2,
    "epochs": 1,
    "batch_size": 16,
}

Build = Callable[..., TrainConfig]


def test_train_validate_verify_deploy_predict(
    tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(**EVENTS, mix__cutmix=1.0, mix__mixup=0.5)
    train(config)
    run = tmp_path / "run"
    card = Card.read(run / "best")
    assert card.data.events.frames == 2
    assert card.preprocessing.classes == tuple("0123456789")
    x = sample_images(run, count=4)
    assert x.shape == (4, 2, 2, 8, 8)
    assert main(["val", str(run), "--limit-batches=1"]) == 0
    assert main(["verify", str(run), "--images=4"]) == 0
    assert "0 mismatches" in capsys.readouterr().out
    model = ss.load(run / "best")
    net = ss.deploy(model, x[:1])
    assert net.verify(x, against=("spikes",)).equal

    recording = write(tmp_path / "fan.es", encode_es(random_events(400, 20, 16)))
    sheet = tmp_path / "sheet.png"
    assert main(["predict", str(run), str(recording), f"--output={sheet}"]) == 0
    shown = capsys.readouterr().out
    assert "fan.es" in shown
    with Image.open(tmp_path / "sheet_fan.gif") as gif:
        assert gif.n_frames == 2
    with Image.open(sheet) as image:
        assert min(image.size) > 200
    write(tmp_path / "broken.es", recording.read_bytes()[:-1])
    assert main(["predict", str(run), str(tmp_path / "broken.es"), f"--output={sheet}"]) == 2
    assert "cut off" in capsys.readouterr().err


def test_cutmix_pastes_the_same_box_into_all_frames(
    tiny: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        "spikesight.training.trainer.find_silent_neurons",
        lambda _, images: seen.append(images.clone()) or [],
    )
    data = EVENTS["data"] | {
        "events": {"saccades": True, "frames": 2, "cache_mb": 0},
        "horizontal_flip": False,
    }
    plain = tiny("plain", **(EVENTS | {"data": data}))
    mixed = tiny("mixed", **(EVENTS | {"data": data}), mix__cutmix=1.0)
    train(plain)
    train(mixed)
    pasted = seen[1] != seen[0]
    assert pasted.any()
    first = pasted.flatten(1, 2).any(1)
    assert torch.equal(seen[1][~pasted], seen[0][~pasted])
    flipped = seen[0].flip(0)
    box = first.any(0)
    rows, columns = box.any(1).nonzero(), box.any(0).nonzero()
    area = (
        ...,
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )
    assert torch.equal(seen[1][area], flipped[area])


def test_a_teacher_of_events(tiny: Build, tmp_path: Path) -> None:
    train(tiny("teacher", **EVENTS, model__neuron="relu"))
    student = tiny("student", **EVENTS)
    student.distillation.teacher = str(tmp_path / "teacher")
    student.distillation.logits = "soft"
    train(student)
    photos = tiny("photos", limit_batches=2)
    photos.distillation.teacher = str(tmp_path / "teacher")
    photos.distillation.logits = "soft"
    with pytest.raises(ValueError, match="learned from 2 frames of events per sample"):
        train(photos)
    student.output = str(tmp_path / "third")
    student.distillation.teacher = "timm:resnet18"
    with pytest.raises(ValueError, match="takes photos and the data are events"):
        train(student)


def test_steps_and_frames_are_the_same_number(tiny: Build) -> None:
    with pytest.raises(ValueError, match=r"model.steps is 3 but data.events.frames is 2"):
        tiny(**(EVENTS | {"model__steps": 3}))


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = write(tmp_path / "fan.es", encode_es(random_events(400, 20, 16)))
    gif = tmp_path / "fan.gif"
    assert main(["events", str(recording), f"--gif={gif}", "--frames=5", "--size=16"]) == 0
    shown = capsys.readouterr().out
    for expected in ("20 x 16 pixels", "400", "events per second", "5 frames in"):
        assert expected in shown
    with Image.open(gif) as image:
        assert image.n_frames == 5
    empty = write(tmp_path / "empty.es", encode_es(random_events(0, 20, 16)))
    assert main(["events", str(empty)]) == 0
    assert main(["events", str(tmp_path / "nowhere.es")]) == 2
    assert "nowhere.es" in capsys.readouterr().err
    words = ["saccades", str(tmp_path / "out"), "--size=8", "--limit=4"]
    assert main(words) == 0
    assert "4 recordings" in capsys.readouterr().out
    assert len(list((tmp_path / "out").rglob("*.npz"))) == 4
