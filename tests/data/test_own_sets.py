"""Data sets registered by users: read where the formats that come along are, and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.data import (
    ArraySource,
    DataConfig,
    DataError,
    Preprocessing,
    build_loaders,
    own_sets,
)
from spikesight.data.detection import AnnotatedImage, ObjectConfig, build_object_loaders
from spikesight.data.segmentation import (
    ClassTable,
    Scene,
    SceneConfig,
    build_scene_loaders,
    read_scenes,
    semantic_truth,
)
from spikesight.data.splits import read_splits
from spikesight.errors import UserError
from spikesight.objects import Objects
from spikesight.training import Card


def stripes(**changes: Any) -> ArraySource:
    fields = {
        "images": torch.arange(40 * 64, dtype=torch.int64).view(40, 1, 8, 8).to(torch.uint8),
        "labels": torch.arange(40) % 2,
        "classes": ["even", "odd"],
        "name": "stripes",
    }
    return ArraySource(**{**fields, **changes})


def register(value: Any) -> None:
    """Registers a data set `my_set` that gives a value."""

    def my_set(config: DataConfig) -> Any:
        return value

    own_sets.register_dataset(my_set)


def test_a_registered_data_set_is_split_resized_and_normalised() -> None:
    register({"train": stripes})
    config = DataConfig(format="my_set", channels=1, image_size=16, validation_fraction=0.25)
    loaders = build_loaders(config, batch_size=10, seed=0)
    assert loaders.classes == ["even", "odd"]
    assert len(loaders.train.dataset) == 30
    images, labels = next(iter(loaders.validation))
    assert images.shape == (10, 1, 16, 16)
    assert sorted(labels.tolist()) == [0] * 5 + [1] * 5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "keys are among train, validation, test"),
        ({"valid": stripes}, "keys are among train, validation, test"),
        ({"train": lambda: torch.zeros(3)}, "give an ArraySource or an EncodedSource"),
        ({"train": lambda: stripes(images=torch.rand(40, 1, 8, 8))}, r"make them uint8 \[N"),
        ({"train": lambda: stripes(labels=torch.arange(39) % 2)}, "one per image"),
        ({"train": lambda: stripes(labels=torch.arange(40))}, "label 2 of image 2 is out of range"),
        ({"train": lambda: stripes(classes=["a", "a"])}, "comes twice"),
    ],
)
def test_what_a_data_set_must_not_be_is_named(value: Any, message: str) -> None:
    register(value)
    with pytest.raises(DataError, match=message):
        read_splits(DataConfig(format="my_set", validation_fraction=0.25))


def test_a_format_that_nothing_reads_is_refused_with_the_remedy() -> None:
    for config, door in (
        (DataConfig, "register_dataset"),
        (SceneConfig, "register_scenes"),
        (ObjectConfig, "register_objects"),
    ):
        with pytest.raises(DataError, match=rf"format is 'unknown'; pass one of .*ss\.{door}"):
            config(format="unknown")


class Halves:
    """Photos whose left half is of one class and whose right half of another."""

    classes = ClassTable(("left", "right"), ((255, 0, 0), (0, 0, 255)))
    name = "halves"
    panoptic = False

    def __len__(self) -> int:
        return 4

    def read(self, index: int) -> Scene:
        side = torch.arange(32).repeat(32, 1) // 16
        photo = (side * 100 + index).to(torch.uint8).expand(3, -1, -1).contiguous()
        return Scene(photo, semantic_truth(side.int(), 2), self.describe(index))

    def describe(self, index: int) -> str:
        return f"halves {index}"


def test_registered_scenes_are_read_by_both_loaders() -> None:
    def my_scenes(config: SceneConfig, part: str) -> Halves:
        assert part in ("train", "val")
        return Halves()

    own_sets.register_scenes(my_scenes)
    config = SceneConfig(format="my_scenes", crop_size=(32, 32), workers=0)
    assert read_scenes(config, "val").describe(1) == "halves 1"
    loaders = build_scene_loaders(config, batch_size=2, seed=0, panoptic=False)
    assert list(loaders.classes) == ["left", "right"]


class Squares:
    """A bright square on a dark ground."""

    classes = ClassTable(("square",), ((255, 0, 0),), (0,))
    name = "squares"
    masks = False
    notes = "4 squares"

    def __len__(self) -> int:
        return 4

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        image = torch.zeros(3, 32, 32, dtype=torch.uint8)
        image[:, 4 : 12 + index, 8:16] = 255
        box = torch.tensor([[8.0, 4, 16, 12 + index]])
        return AnnotatedImage(image, Objects(box, torch.tensor([0]), torch.tensor([False])))

    def describe(self, index: int) -> str:
        return f"square {index}"


def test_registered_objects_are_read_by_both_loaders() -> None:
    def my_objects(config: ObjectConfig, part: str) -> Squares:
        assert part in ("train", "val")
        return Squares()

    own_sets.register_objects(my_objects)
    config = ObjectConfig(format="my_objects", image_size=(64, 64), workers=0)
    loaders = build_object_loaders(config, batch_size=4, seed=0)
    ((_, truths),) = loaders.train
    assert sorted(t.boxes[0, 3].item() for t in truths) == [24, 26, 28, 30]
    ((_, fitted),) = loaders.validation
    assert sorted(t.boxes[0, 3].item() for t, _ in fitted) == [12, 13, 14, 15]


def test_a_card_remembers_the_file_of_its_data_set(tmp_path: Path) -> None:
    register({"train": stripes})
    steps = Preprocessing(16, 1, (0.5,), (0.5,), classes=("even", "odd"))
    Card(DataConfig(format="my_set", channels=1), steps, 1, "model", None).write(tmp_path)
    assert Card.read(tmp_path).data.format == "my_set"
    content = json.loads((tmp_path / "run.json").read_text())
    (part,) = content["parts"]
    assert (part["kind"], part["name"], part["file"]) == ("data set", "my_set", Path(__file__).name)
    for field in (content["data"], part):
        field.update({key: "lost_set" for key in ("format", "name") if key in field})
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"'lost_set' of test_own_sets\.py .* not imported"):
        Card.read(tmp_path)


def test_a_card_without_own_parts_is_written_as_before() -> None:
    steps = Preprocessing(16, 1, (0.5,), (0.5,))
    assert "parts" not in Card(DataConfig(), steps, 1, "model", None).text()
