"""A stopped and resumed run gives the figures of an uninterrupted one, bit for bit."""

import csv
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import spikesight
from spikesight.errors import UserError
from spikesight.training import (
    TrainConfig,
    TrainingInterrupted,
    from_mapping,
    train,
)
from spikesight.training.runs.checkpoint import EpochSums, Position, RunState
from tests.data.shards.shard_files import write_shards
from tests.training.conftest import stop_after

Build = Callable[..., TrainConfig]
CLOCK = {"seconds", "images_per_second", "peak_memory"}
RECIPES: dict[str, dict[str, Any]] = {
    "adamw with everything random": {
        "mix__mixup": 0.2,
        "mix__cutmix": 1.0,
        "mix__probability": 0.7,
        "ema__decay": 0.9,
        "data__horizontal_flip": True,
        "data__random_erasing": 0.3,
        "firing_rate__weight": 0.1,
    },
    "adamw with channels last": {"channels_last": True, "ema__decay": 0.9},
    "lamb with accumulation": {"optimizer__name": "lamb", "accumulation": 2, "limit_batches": 8},
    "muon with a whitened stem": {
        "optimizer__name": "muon",
        "model__whitened": True,
        "data__alternate_flip": True,
    },
    "sgd with layer decay in bf16": {
        "optimizer__name": "sgd",
        "optimizer__layer_decay": 0.7,
        "precision": "bf16",
        "label_smoothing": 0.1,
    },
}


def rows(config: TrainConfig) -> list[dict[str, str]]:
    path = Path(config.output) / "metrics.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [{k: v for k, v in r.items() if k not in CLOCK} for r in csv.DictReader(file)]


def tensors(config: TrainConfig) -> dict[str, torch.Tensor]:
    last = Path(config.output) / "last"
    return load_file(last / "model.safetensors") | load_file(last / "training.safetensors")


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("stop", [2, 7])
def test_resume_equals_uninterrupted(tiny: Build, recipe: str, stop: int) -> None:
    straight = tiny("straight", **RECIPES[recipe])
    train(straight)
    broken = tiny("broken", resume=True, **RECIPES[recipe])
    with pytest.raises(TrainingInterrupted) as stopped:
        train(broken, stop_after(stop))
    assert stopped.value.signal_number == signal.SIGINT
    assert len(rows(broken)) == (stop - 1) // 4
    result = train(broken)

    assert len(rows(straight)) == 2
    assert rows(broken) == rows(straight)
    expected, got = tensors(straight), tensors(broken)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert result.best.top1 == max(
        float(r[c]) for r in rows(straight) for c in ("val_top1", "ema_top1") if r[c]
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_runs_on_shards_resume_within_an_epoch(tiny: Build, tmp_path: Path, workers: int) -> None:
    shards = write_shards(tmp_path / "shards", [90, 7, 63])
    data = {
        "data": {
            "format": "shards",
            "path": str(shards),
            "image_size": 8,
            "channels": 1,
            "random_resized_crop": 0.5,
            "shuffle_buffer": 48,
            "workers": workers,
        }
    }
    straight = tiny("straight", **data, batch_size=16)
    train(straight)
    broken = tiny("broken", resume=True, **data, batch_size=16)
    for stop in (2, 7):
        with pytest.raises(TrainingInterrupted):
            train(broken, stop_after(stop))
    train(broken)
    assert rows(broken) == rows(straight)
    expected, got = tensors(straight), tensors(broken)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


def test_stopping_twice_and_at_the_end_of_an_epoch(tiny: Build) -> None:
    straight, broken = tiny("straight"), tiny("broken", resume=True)
    train(straight)
    for stop in (4, 6):
        with pytest.raises(TrainingInterrupted):
            train(broken, stop_after(stop))
    train(broken)
    assert rows(broken) == rows(straight)


def test_timed_checkpoints_do_not_change_the_run(tiny: Build) -> None:
    plain, timed = tiny("plain"), tiny("timed", checkpoint_minutes=1e-9)
    train(plain)
    train(timed)
    assert rows(plain) == rows(timed)


def test_finished_run_is_not_trained_again(tiny: Build) -> None:
    first = train(tiny(epochs=1))
    again = train(tiny(epochs=1, resume=True))
    assert again == first


def test_more_epochs_may_be_asked_for(tiny: Build) -> None:
    train(tiny(epochs=1))
    longer = tiny(epochs=2, resume=True)
    train(longer)
    assert [row["epoch"] for row in rows(longer)] == ["1", "2"]


@pytest.mark.parametrize("stop", [4, 6])
def test_fewer_epochs_than_a_run_is_past_are_refused(tiny: Build, stop: int) -> None:
    config = tiny(epochs=3, validate_every=3)
    with pytest.raises(TrainingInterrupted):
        train(config, stop_after(stop))
    before = (Path(config.output) / "config.yaml").read_text()
    shorter = tiny(epochs=1, validate_every=3, resume=True)
    with pytest.raises(
        ValueError, match=r"epochs is 1 but .*last goes on in epoch 2; pass epochs=2"
    ):
        train(shorter)
    assert (Path(config.output) / "config.yaml").read_text() == before


@pytest.mark.parametrize("bits", [None, 4])
def test_starting_weights_are_not_needed_again(tiny: Build, bits: int | None) -> None:
    start = train(tiny("start", epochs=1, limit_batches=1)).folder
    options = {"model__weights": str(start), "model__bits": bits}
    straight, broken = tiny("straight", **options), tiny("broken", resume=True, **options)
    train(straight)
    with pytest.raises(TrainingInterrupted):
        train(broken, stop_after(6))
    shutil.rmtree(start)
    train(broken)
    expected, got = tensors(straight), tensors(broken)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


def test_scenes_may_move_and_be_read_otherwise() -> None:
    def config(**scenes: Any) -> TrainConfig:
        changes = {"format": "cut_outs", "path": "cut", "photos": "grounds"} | scenes
        return from_mapping(
            TrainConfig,
            {"model": {"name": "m"}, "output": "r", "task": "semantic", "scenes": changes},
        )

    state = RunState(Position(), EpochSums(), None, None, 1, config().to_mapping(), {})
    moved = config(path="elsewhere", photos="there", workers=2)
    state.check_continues(moved, 1, Path("last"))
    with pytest.raises(ValueError, match=r"scenes\.flip changed"):
        state.check_continues(config(flip=True), 1, Path("last"))


def test_resuming_with_another_recipe_is_refused(tiny: Build) -> None:
    train(tiny(epochs=1))
    with pytest.raises(ValueError, match=r"optimizer\.lr, seed changed since .*model\.weights"):
        train(tiny(epochs=1, resume=True, seed=1, optimizer__lr=0.1))


def test_a_run_keeps_its_memory_format(tiny: Build) -> None:
    with pytest.raises(TrainingInterrupted):
        train(tiny("plain", channels_last=False), stop_after(2))
    train(tiny("plain", resume=True))
    assert not TrainConfig.load(Path(tiny("plain").output) / "config.yaml").channels_last
    with pytest.raises(TrainingInterrupted):
        train(tiny("usual"), stop_after(2))
    assert TrainConfig.load(Path(tiny("usual").output) / "config.yaml").channels_last is True
    with pytest.raises(UserError, match="channels_last"):
        train(tiny("usual", resume=True, channels_last=False))


def test_a_run_is_not_overwritten(tiny: Build) -> None:
    train(tiny(epochs=1))
    with pytest.raises(ValueError, match="holds a run already; pass resume=true"):
        train(tiny(epochs=1))


def test_run_folder_is_complete(tiny: Build) -> None:
    config = tiny(epochs=1, ema__decay=0.9)
    result = train(config)
    names = {path.relative_to(result.folder).as_posix() for path in result.folder.rglob("*")}
    assert {"config.yaml", "metrics.csv", "best/model.safetensors", "last/training.json"} <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    decided = replace(config, channels_last=True)
    assert TrainConfig.load(result.folder / "config.yaml") == decided
    for part in ("best", "last"):
        model = spikesight.load(result.folder / part)
        assert model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_other_data_are_refused_by_name(tiny: Build, tmp_path: Path) -> None:
    folder = tmp_path / "photos"

    def put(name: str, count: int) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = torch.full((8, 8, 1), 20 * number, dtype=torch.uint8).numpy()
            Image.fromarray(pixels[..., 0]).save(folder / name / f"{number}.png")

    put("a", 10), put("b", 10)
    changes: dict[str, Any] = {
        "data__format": "folder",
        "data__path": str(folder),
        "data__workers": 0,
        "batch_size": 2,
        "resume": True,
    }
    with pytest.raises(TrainingInterrupted):
        train(tiny(**changes), stop_after(2))
    put("c", 10)
    with pytest.raises(ValueError, match=r"on 2 classes, data now has 3 \(c is new\)"):
        train(tiny(**changes))
    shutil.rmtree(folder / "c")
    (folder / "a" / "9.png").unlink()
    with pytest.raises(ValueError, match=r"on 16 training images, data now has 15; bring"):
        train(tiny(**changes))
    put("a", 10)
    train(tiny(**changes))
