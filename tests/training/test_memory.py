"""A run in less memory gives the figures and weights of one in as much as it wants."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.errors import UserError
from spikesight.memory import saving
from spikesight.training import TrainConfig, TrainingInterrupted, from_mapping, train
from tests.training.conftest import stop_after
from tests.training.test_masked_image import masked
from tests.training.test_resuming_runs import rows, tensors
from tests.training.test_segmentation import SMALL

Build = Callable[..., TrainConfig]
RECIPES: dict[str, dict[str, Any]] = {
    "everything random": {
        "mix__mixup": 0.2,
        "ema__decay": 0.9,
        "data__random_erasing": 0.3,
        "firing_rate__weight": 0.1,
        "accumulation": 2,
    },
    "bf16": {"precision": "bf16", "channels_last": True},
    "four bits": {"model__bits": 4},
}


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_SMALL", 0)


def assert_same(first: TrainConfig, second: TrainConfig) -> None:
    assert rows(first) == rows(second)
    expected, got = tensors(first), tensors(second)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


@pytest.mark.parametrize("memory", ["low", "lowest"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_classifier_learns_the_same(tiny: Build, recipe: str, memory: str) -> None:
    normal = tiny("normal", **RECIPES[recipe])
    train(normal)
    less = tiny("less", memory=memory, **RECIPES[recipe])
    train(less)
    assert_same(normal, less)


def test_a_run_goes_on_in_another_form(tiny: Build) -> None:
    straight = tiny("straight")
    train(straight)
    with pytest.raises(TrainingInterrupted):
        train(tiny("broken", memory="lowest"), stop_after(2))
    broken = tiny("broken", memory="low", resume=True)
    train(broken)
    assert_same(straight, broken)


@pytest.mark.parametrize("memory", ["low", "lowest"])
def test_a_teacher_is_learned_from_alike(tiny: Build, memory: str) -> None:
    twin = str(train(tiny("twin", epochs=1, model__neuron="relu")).folder)
    teacher = {"distillation__teacher": twin, "distillation__attention": True}
    normal, less = tiny("normal", **teacher), tiny("less", memory=memory, **teacher)
    train(normal)
    train(less)
    assert_same(normal, less)


@pytest.mark.parametrize("memory", ["low", "lowest"])
def test_hidden_patches_are_guessed_alike(tiny: Build, memory: str) -> None:
    normal, less = masked(tiny, "normal"), masked(tiny, "less", memory=memory)
    train(normal)
    train(less)
    assert_same(normal, less)


@pytest.mark.parametrize("memory", ["low", "lowest"])
def test_a_segmenter_learns_the_same(tmp_path: Path, memory: str) -> None:
    config = SMALL | {"task": "semantic", "precision": "no", "epochs": 1}
    normal, less = (
        from_mapping(TrainConfig, config | {"output": str(tmp_path / name), "memory": name})
        for name in ("normal", memory)
    )
    train(normal)
    train(less)
    assert_same(normal, less)


def test_the_peak_is_told(tiny: Build, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny(epochs=1)
    train(config)
    told = next(line for line in capsys.readouterr().out.splitlines() if "epoch 1:" in line)
    assert told.endswith(" GB")
    assert "peak_memory" in (Path(config.output) / "metrics.csv").read_text().splitlines()[0]


def test_a_compiled_model_is_refused(tiny: Build) -> None:
    with pytest.raises(UserError, match="memory is low and compile is model"):
        tiny(memory="low", compile="model")
