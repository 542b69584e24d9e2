"""Mistakes in a configuration are named together with the remedy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spikesight.commands.parser import main
from spikesight.data import DataConfig
from spikesight.errors import UserError
from spikesight.training import TrainConfig, from_mapping
from spikesight.training.config import override

from .conftest import TINY

MISTAKES: list[tuple[str, Any, str]] = [
    ("epochs", 0, "epochs is 0; pass 1 or more"),
    ("batch_size", -1, "batch_size is -1"),
    ("clip_norm", 0, "clip_norm is 0.* null"),
    ("label_smoothing", 1.0, "label_smoothing is 1"),
    ("precision", "int8", "precision"),
    ("limit_batches", 0, "limit_batches is 0"),
    ("checkpoint_minutes", 0, "checkpoint_minutes is 0"),
    ("seed", -1, "seed is -1"),
    ("optimizer.name", "adagrad", "name"),
    ("optimizer.lr", -1.0, "optimizer.lr is -1.0; pass a positive number"),
    ("optimizer.lr", "fast", "lr"),
    ("optimizer.layer_decay", 2.0, "optimizer.layer_decay is 2.0"),
    ("optimizer.betas", [0.9, 1.0], "optimizer.betas"),
    ("schedule.min_lr", -1.0, "schedule.min_lr is -1.0"),
    ("mix.mixup", -0.1, "mix.mixup is -0.1"),
    ("mix.probability", 2.0, "mix.probability is 2.0"),
    ("ema.decay", 1.0, "ema.decay is 1.0"),
    ("firing_rate.target", 1.0, "firing_rate.target is 1.0"),
    ("model.drop_path_rate", 1.0, "model.drop_path_rate is 1.0"),
    ("model.steps", 0, "model.steps is 0"),
    ("model.arguments", {"widths": [4, float("inf")]}, "model.arguments is .*finite numbers"),
    ("segmentation.loss", {"points": float("nan")}, "segmentation.loss is .*finite numbers"),
    ("model.nuron", "lif", "nuron"),
    ("colour", "red", "colour"),
]


@pytest.mark.parametrize(("field", "value", "message"), MISTAKES)
def test_mistake(field: str, value: Any, message: str) -> None:
    *parents, name = field.split(".")
    values: dict[str, Any] = TINY | {"output": "run"}
    place = values
    for parent in parents:
        place[parent] = dict(place.get(parent, {}))
        place = place[parent]
    place[name] = value
    with pytest.raises(ValueError, match=message):
        from_mapping(TrainConfig, values)


def test_odd_batches_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match="pass an even batch_size"):
        from_mapping(TrainConfig, TINY | {"output": "r", "batch_size": 9, "mix": {"mixup": 0.1}})


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = from_mapping(TrainConfig, TINY | {"output": "run"})
    path = tmp_path / "config.yaml"
    path.write_text(config.dump())
    assert TrainConfig.load(path) == config
    changed = TrainConfig.load(path, optimizer={"lr": 0.5}, epochs=3)
    assert (changed.optimizer.lr, changed.epochs) == (0.5, 3)
    assert changed.optimizer.name == config.optimizer.name
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        TrainConfig.load(tmp_path / "nothing.yaml")


def test_override_of_nested_fields_keeps_their_neighbours() -> None:
    events = {"frames": 4, "sensor": [240, 180], "max_count": 31}
    config = from_mapping(
        DataConfig, {"format": "event_folders", "path": "x", "channels": 2, "events": events}
    )
    changed = override(config, {"events": {"cache_mb": 20}})
    assert changed.events == replace(config.events, cache_mb=20)
    assert (changed.events.frames, changed.events.sensor) == (4, [240, 180])


def test_override_of_data() -> None:
    config = from_mapping(TrainConfig, TINY | {"output": "run"}).data
    assert override(config, {"on_corrupt": "skip"}).on_corrupt == "skip"
    with pytest.raises(ValueError, match="colour"):
        override(config, {"colour": 1})


def test_committed_configurations_are_valid() -> None:
    folder = Path(__file__).parents[2] / "configs"
    files = sorted(set(folder.rglob("*.yaml")) - set(folder.glob("accelerate/*")))
    assert files
    for file in files:
        TrainConfig.load(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null: 1\n", "a field called None"),
        ("output: run\n", "model.name"),
        ("model: {name: x}\noutput: run\nepochs: 0\n", "epochs is 0"),
        ("model: {name: x}\noutput: run\nseed: .nan\n", "seed"),
    ],
)
def test_a_file_and_its_field_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"recipe\.yaml: .*{message}") as refused:
        TrainConfig.load(path)
    assert "value." not in str(refused.value)


def test_long_numbers_on_the_command_line_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--seed=" + "9" * 5000]) == 2
    assert "--seed: holds a whole number of more than 64 bits" in capsys.readouterr().err
    assert main(["train", "--data.mean=" + "[" * 3000]) == 2
    assert "--data.mean: is nested deeper" in capsys.readouterr().err
    assert main(["train", "--config={no"]) == 2
    assert "--config: is no JSON" in capsys.readouterr().err


def test_a_file_changes_fields_of_its_base(tmp_path: Path) -> None:
    files = {
        "all/base.yaml": "epochs: 7\noptimizer: {lr: 1.0, name: lamb}\nmodel: {name: a}\noutput: o",
        "all/middle.yaml": "base: base.yaml\noptimizer: {lr: 2.0}\nmodel: {steps: 3}",
        "one.yaml": "base: all/middle.yaml\nepochs: 9\nschedule: {name: poly}",
    }
    (tmp_path / "all").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    config = TrainConfig.load(tmp_path / "one.yaml")
    assert (config.epochs, config.model.name, config.model.steps) == (9, "a", 3)
    assert (config.optimizer.name, config.optimizer.lr, config.schedule.name) == ("lamb", 2, "poly")
    assert "base" not in config.to_mapping()


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("3", "a.yaml: base is 3; pass the path"),
        ("[b.yaml]", "a.yaml: base is .*; pass the path"),
        ("a.yaml", "leads back to this file"),
        ("b.yaml", "b.yaml: base a.yaml leads back"),
        ("c.yaml", "there is no configuration file .*c.yaml"),
    ],
)
def test_bases_that_cannot_be(base: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"base: {base}")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises((UserError, FileNotFoundError), match=message):
        TrainConfig.load(tmp_path / "a.yaml")


@pytest.mark.parametrize("file", ["voc_1x1", "voc_1x2", "voc_1x8", "voc_2x2", "voc_2x4", "voc_4x4"])
def test_the_recipes_of_one_data_set_differ_in_their_neurons_alone(file: str) -> None:
    recipes = Path(__file__).parents[2] / "configs" / "spike2former"
    config, base = (TrainConfig.load(recipes / f"{name}.yaml") for name in (file, "voc_1x4"))
    steps, levels = (int(number) for number in file.removeprefix("voc_").split("x"))
    neuron = "ni_lif" if file == "voc_1x1" else None
    model = replace(base.model, steps=steps, levels=levels, neuron=neuron)
    assert config == replace(base, model=model, output=f"runs/spike2former_{file}")
