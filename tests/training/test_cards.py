"""What run.json says is checked field by field, and against the model beside it."""

import json
from pathlib import Path
from typing import Any

import pytest

import spikesight as ss
from spikesight.data import DataConfig, Preprocessing
from spikesight.data.segmentation import SceneConfig, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.errors import UserError
from spikesight.inference import ViewConfig
from spikesight.training.runs.card import Card
from tests.training.conftest import TINY


def write_classifier(folder: Path) -> None:
    sizes = TINY["model"]["arguments"]
    ss.create_model("metaspikformer_nano", num_classes=2, **sizes).save_pretrained(folder)
    steps = Preprocessing(32, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("red", "green"))
    Card(DataConfig(format="digits"), steps, 1, "model", None).write(folder)


def change(folder: Path, place: str, value: Any) -> None:
    card = json.loads((folder / "run.json").read_text())
    *parents, last = place.split(".")
    holder = card
    for parent in parents:
        holder = holder[parent]
    holder[last] = value
    (folder / "run.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("preprocessing.mean", [0.5, "x", 0.5], r"preprocessing\.mean\[1\]: expected a number"),
        ("preprocessing.mean", [0.5], "preprocessing.mean has 1 values"),
        ("preprocessing.std", [0.5, 0.5, float("nan")], r"preprocessing\.std\[2\]: is nan"),
        ("preprocessing.image_size", 2**40, r"preprocessing\.image_size: expected a whole number"),
        ("preprocessing.image_size", "32", r"preprocessing\.image_size: expected a whole number"),
        (
            "preprocessing.classes",
            ["a", "b", "c"],
            "preprocessing: names 3 classes and the model .* has 2",
        ),
        ("preprocessing", 3, "preprocessing: expected fields"),
        ("preprocessing.more", 3, r"preprocessing\.more: is no field that is known"),
        ("data.channels", 7, r"data\.channels"),
        ("data.path", None, r"data\.path: expected text, got null"),
        ("metrics", {"top1": 1}, r"metrics\.top5: is missing"),
        ("epoch", -1, "epoch: expected a whole number >= 0"),
        ("weights", "best", "weights: there is no choice 'best'"),
        ("task", "x", "task: 'x' is none of classification"),
        ("task", [], r"task: \[\] is none of classification"),
        ("later", 1, "later: is no field that is known"),
    ],
)
def test_wrong_fields_are_named(place: str, value: Any, named: str, tmp_path: Path) -> None:
    write_classifier(tmp_path)
    assert Card.read(tmp_path).preprocessing.classes == ("red", "green")
    change(tmp_path, place, value)
    with pytest.raises(UserError, match=rf"run\.json: {named}"):
        Card.read(tmp_path)


def test_a_card_of_another_model_is_refused(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    change(tmp_path, "preprocessing.channels", 1)
    change(tmp_path, "preprocessing.mean", [0.5])
    change(tmp_path, "preprocessing.std", [0.5])
    with pytest.raises(
        UserError,
        match=r"run\.json: preprocessing: prepares 1 channels and the model .* takes 3; copy",
    ):
        Card.read(tmp_path)


def test_scene_cards_name_fields_too(tmp_path: Path) -> None:
    steps = ScenePreprocessing((0.5,) * 3, (0.5,) * 3, (64, 64), None, table_of(("sky", "ball")))
    card = Card(SceneConfig(), steps, 1, "model", None, "semantic", view=ViewConfig())
    card.write(tmp_path)
    assert Card.read(tmp_path) == card
    table = json.loads((tmp_path / "run.json").read_text())["preprocessing"]["table"]
    for place, value, named in (
        ("preprocessing.table", table | {"names": ["sky"]}, "a table of 1 classes has 2 colours"),
        ("preprocessing.table", table | {"things": [5]}, "things names class 5 of 2"),
        (
            "preprocessing.table",
            table | {"colours": [[0, 0, 0], [1, 2, 300]]},
            r"\[1\]\[2\]: ",
        ),
        ("preprocessing.crop_size", [64, 0], r"preprocessing\.crop_size\[1\]"),
        ("view.scales", [float("inf")], r"view\.scales\[0\]: is inf"),
        ("scenes.format", "x", r"scenes\.format is 'x'; pass one of"),
    ):
        card.write(tmp_path)
        change(tmp_path, place, value)
        with pytest.raises(UserError, match=rf"run\.json: .*{named}"):
            Card.read(tmp_path)
