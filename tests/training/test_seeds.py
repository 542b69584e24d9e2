"""One recipe, several seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml

import spikesight.training.seeds as seeds_module
from spikesight.commands.parser import main
from spikesight.training import TrainConfig, TrainingInterrupted, train, train_seeds

from .conftest import TINY, stop_after

Build = Callable[..., TrainConfig]


def test_every_seed_is_a_run_of_its_own(tiny: Build) -> None:
    config = tiny(epochs=1, limit_batches=2)
    with pytest.raises(TrainingInterrupted):
        train_seeds(config, [0, 3], stop_after(1))
    updates: list[int] = []
    result = train_seeds(config, [0, 3], updates.append)
    alone = train(tiny("alone", epochs=1, limit_batches=2, seed=3))
    assert result.runs[3].last == alone.last
    assert result.runs[0].last != alone.last
    assert updates == [2, 1, 2]
    summary = json.loads((Path(config.output) / seeds_module.SUMMARY).read_text())
    values = [result.runs[s].last.top1 for s in (0, 3)]
    assert summary["seeds"] == [0, 3]
    assert summary["last"]["top1"] == {
        "mean": mean(values),
        "std": stdev(values),
        "values": values,
    }
    # Finished seeds are not trained again; more can be asked for.
    again = train_seeds(config, [0, 3], updates.append)
    assert again == result
    assert updates == [2, 1, 2]
    with pytest.raises(ValueError, match=r"batch_size changed since"):
        train_seeds(tiny(epochs=1, limit_batches=2, batch_size=16), [0])


def test_fewer_epochs_than_a_seed_is_past_are_refused(tiny: Build) -> None:
    with pytest.raises(TrainingInterrupted):
        train_seeds(tiny(limit_batches=2), 1, stop_after(3))
    with pytest.raises(ValueError, match=r"seed_0.last goes on in epoch 2; pass epochs=2 or more"):
        train_seeds(tiny(limit_batches=2, epochs=1), 1)


@pytest.mark.parametrize("seeds", [0, [], [1, 1], [-1]])
def test_unfit_seeds(tiny: Build, seeds: int | list[int]) -> None:
    with pytest.raises(ValueError, match="pass a number of seeds"):
        train_seeds(tiny(), seeds)


def test_by_one_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(TINY | {"epochs": 1, "limit_batches": 2}))
    words = ["train", str(recipe), f"--output={tmp_path / 'runs'}"]
    assert main([*words, "--seeds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "standard deviation" in shown
    assert " - " in shown or shown.rstrip().count("-") > 0
    assert main([*words, "--seeds=[0,1]"]) == 0
    summary = json.loads((tmp_path / "runs" / "seeds.json").read_text())
    assert len(summary["best"]["top1"]["values"]) == 2
    assert (tmp_path / "runs" / "seed_1" / "best" / "model.safetensors").is_file()
    assert TrainConfig.load(tmp_path / "runs" / "seed_1" / "config.yaml").seed == 1
