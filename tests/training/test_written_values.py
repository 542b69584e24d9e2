"""What YAML reads otherwise than it was meant is put right or named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spikesight.commands.parser import main
from spikesight.commands.training import TrainOptions
from spikesight.commands.words import prepare_words
from spikesight.data import DataConfig
from spikesight.data.segmentation import SceneConfig
from spikesight.training import TrainConfig, from_mapping
from spikesight.training.config import override

from .conftest import TINY


def load(text: str, folder: Path) -> TrainConfig:
    file = folder / "t.yaml"
    named = text.partition(":")[0]
    fields = TINY | {"output": "run"}
    fields = {name: value for name, value in fields.items() if name not in (named, "precision")}
    file.write_text(yaml.safe_dump(fields) + text)
    return TrainConfig.load(file)


def test_no_is_a_precision(tmp_path: Path) -> None:
    assert load("precision: no\n", tmp_path).precision == "no"
    assert load("precision: 'no'\n", tmp_path).precision == "no"
    assert load("", tmp_path).precision == "auto"


@pytest.mark.parametrize("section", ["ema", "mix", "optimizer", "segmentation", "scenes"])
def test_an_empty_section_has_its_defaults(section: str, tmp_path: Path) -> None:
    config = load(f"{section}:\n", tmp_path)
    assert getattr(config, section) == getattr(load("", tmp_path), section)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("precision: yes\n", "precision is True, a boolean .*quotes"),
        ("output: 12\n", 'output is 12, a number, .*quotes.*\'?"12"'),
        ("output: off\n", "output is False, a boolean .*quotes"),
        ("task: on\n", "task is True, a boolean .*quotes"),
        ("ema: 0.9\n", r"ema is 0\.9, but has fields of its own; .*ema\.decay"),
        ("no: 1\n", "a field called False, a boolean .*quotes"),
        ("12: 1\n", "a field called 12, a number"),
    ],
)
def test_what_is_no_text_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(text, tmp_path)


@pytest.mark.parametrize("names", [["a", False], [0, 1], [1.5, "b"]])
def test_class_names_are_text(names: list[Any], tmp_path: Path) -> None:
    data = {"format": "idx", "path": "x", "class_names": names}
    with pytest.raises(ValueError, match=r"data\.class_names\[\d\] is .*put it in quotes"):
        from_mapping(TrainConfig, TINY | {"output": "run", "data": data})
    scenes = {"format": "folder", "path": "x", "class_names": names}
    with pytest.raises(ValueError, match=r"scenes\.class_names\[\d\] is .*put it in quotes"):
        from_mapping(TrainConfig, TINY | {"output": "run", "scenes": scenes})


def test_files_that_hold_no_fields_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.yaml"
    for text in ("- a\n- b\n", "a: [\n", "word"):
        file.write_text(text)
        assert main(["train", str(file)]) == 2
        assert f"{file}" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "absent.yaml")]) == 2
    assert "there is no configuration file" in capsys.readouterr().err


def test_data_and_scenes_mean_what_the_task_reads(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("task: semantic\n")
    words = ["--data.format=folder", "--data.path=a", "--scenes.flip", "--data.workers", "2"]
    for front in ([str(file)], ["--task=panoptic"], ["--task", "semantic"]):
        ready = prepare_words([*front, *words], TrainOptions)
        assert ready[-3:] == ["--scenes.path=a", "--scenes.flip", "--scenes.workers=2"]
    for front in ([], ["--task=masked_image"], [str(file), "--task=classification"]):
        ready = prepare_words([*front, *words], TrainOptions)
        assert ready[-3:] == ["--data.path=a", "--data.flip", "--data.workers=2"]


def test_a_path_that_the_format_does_not_read_is_refused(tmp_path: Path) -> None:
    for words in (
        ["--data.path=photos"],
        ["--scenes.path", "photos", "--data.format=painted_digits"],
        ["--task=panoptic", "--data.path=streets"],
    ):
        with pytest.raises(ValueError, match=r"\.path is .*which reads no file; pass \w+\.format"):
            prepare_words(words, TrainOptions)
    assert prepare_words(["--data.path=p", "--data.format=folder"], TrainOptions)
    with pytest.raises(ValueError, match=r"data\.path is photos but data\.format is digits"):
        override(DataConfig(), {"path": "photos"})
    with pytest.raises(ValueError, match=r"scenes\.path is x but scenes\.format is digit_scenes"):
        override(SceneConfig(), {"path": "x"})
    assert override(DataConfig(), {"path": "x", "format": "folder"}).path == "x"
    assert prepare_words([str(tmp_path), "--help"], TrainOptions) == ["--help"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 010\n", "seed is '010', text, but a number belongs there"),
        ("seed: 1:30\n", "seed is '1:30', text"),
        ("optimizer: {lr: 1:30.5}\n", r"optimizer\.lr is '1:30\.5', text"),
        (f"seed: {2**60}\n", f"seed is {2**60}; pass 0 or more, at most"),
        (f"batch_size: {2**40}\n", "batch_size is .*; pass 1 or more, at most"),
        ("data: {workers: 1000000}\n", r"data\.workers is 1000000; pass 0 or more, at most 1024"),
        ("data: {image_size: 100000}\n", r"data\.image_size is 100000; pass 1 or more, at most"),
        ("data: {random_crop_padding: -1}\n", r"data\.random_crop_padding is -1; pass 0 or more"),
        ("data: {events: {frames: 2000}}\n", r"data\.events\.frames is 2000; pass 1 or more"),
        ("data: {split_seed: -1}\n", r"data\.split_seed is -1; pass 0 or more"),
        ("output: ''\n", "output is empty; pass the folder"),
        ('output: "a\\0b"\n', "output: holds a character of number 0"),
        ("model: {name: spikformer_nano, weights: ''}\n", r"model\.weights is empty"),
        ("model: {name: m, arguments: {steps: 3}}\n", r"arguments has 'steps'; pass model\.steps"),
        ("model: {name: m, arguments: {in_channels: 3}}\n", r"pass data\.channels instead"),
        ("scenes: {workers: -1}\n", r"scenes\.workers is -1; pass 0 or more"),
        (
            "data: {format: idx, path: x, class_names: [a, a]}\n",
            r"data\.class_names: the class 'a'",
        ),
    ],
)
def test_numbers_are_decimal_and_of_this_world(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(text, tmp_path)


def test_names_of_digits_are_text(tmp_path: Path) -> None:
    config = load("data: {format: idx, path: x, class_names: [007, 08, 12:30]}\n", tmp_path)
    assert config.data.class_names == ["007", "08", "12:30"]
    assert load("seed: 0x10\n", tmp_path).seed == 16
    assert load("seed: 1_000\n", tmp_path).seed == 1000
    assert load("seed: '3'\n", tmp_path).seed == 3


def test_lists_of_options_are_text_too() -> None:
    for word in ("--data.class_names=[yes, no]", "--scenes.class-names=[0,1]"):
        with pytest.raises(ValueError, match=r"class_names\[0\] is .*put it in quotes"):
            prepare_words([word], TrainOptions)
    for word in ('--data.class_names=["yes","no"]', "--scenes.crop_size=[32,32]", "--seeds=[0,1]"):
        assert prepare_words([word], TrainOptions)
    assert prepare_words(["--model.arguments.widths=[1", "--x.y=[no]"], TrainOptions)
