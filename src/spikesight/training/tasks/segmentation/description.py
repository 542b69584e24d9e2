"""What is said of a converted segmenter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spikesight.data.loaders import IMAGENET_MEAN, IMAGENET_STD
from spikesight.data.segmentation import ClassTable, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.inference import ViewConfig
from spikesight.training.runs.card import Card
from spikesight.training.runs.description import Description, checked


def describe_segmenter(said: Description, card: Card | None, arguments: dict[str, Any]) -> Card:
    """The card of a converted segmenter, as `Task.describe`; with things it is panoptic."""
    if said.crop_fraction is not None:
        raise UserError("crop_fraction is for classifiers; leave it out")
    changes = said.changes("mean", "std")
    if said.image_size is not None:
        changes["crop_size"] = said.image_size
    if card is None and said.image_size is None:
        raise UserError("image_size is missing; pass that of the training's crops: [512,512]")
    if card is None and said.classes is None:
        raise UserError("classes is missing; pass a text file with one name per line")
    old = None if card is None else card.preprocessing
    table: ClassTable
    if old is None:
        assert said.classes is not None
        table = table_of(said.classes)
    else:
        table = old.table if said.classes is None else replace(old.table, names=said.classes)
    if said.things is not None:
        unknown = [name for name in said.things if name not in table.names]
        if unknown:
            raise UserError(f"things: {show(unknown[0])!r} is none of the classes; correct it")
        things = tuple(n for n, name in enumerate(table.names) if name in said.things)
        table = replace(table, things=things)
    if card is not None:
        task = card.task if said.things is None else "panoptic"
        assert old is not None
        steps = checked(replace(old, table=table, **changes))
        return replace(card, task=task, preprocessing=steps)
    fields = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "evaluation_size": None, **changes}
    preprocessing = checked(ScenePreprocessing(table=table, **fields))
    task = "semantic" if said.things is None else "panoptic"
    return Card(None, preprocessing, 0, "model", None, task, view=ViewConfig())
