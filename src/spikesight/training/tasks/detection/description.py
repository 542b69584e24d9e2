"""What a converted detector's card says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spikesight.data.detection import AnyObjectPreprocessing, ObjectPreprocessing
from spikesight.data.loaders import IMAGENET_MEAN, IMAGENET_STD
from spikesight.data.segmentation.scene import table_of
from spikesight.errors import UserError
from spikesight.inference import DetectionConfig
from spikesight.training.runs.card import Card
from spikesight.training.runs.description import Description, checked


def describe_detector(said: Description, card: Card | None, arguments: dict[str, Any]) -> Card:
    """The card of a converted detector, as `Task.describe`."""
    for name in ("crop_fraction", "things"):
        if getattr(said, name) is not None:
            raise UserError(f"{name} is not for detectors; leave it out")
    changes = said.changes("mean", "std", "image_size")
    if card is None:
        if said.image_size is None:
            raise UserError("image_size is missing; pass height and width of inputs: [416,416]")
        if said.classes is None:
            raise UserError("classes is missing; pass a text file with one name per line")
        table = table_of(said.classes, tuple(range(len(said.classes))))
        fields = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **changes}
        steps = checked(ObjectPreprocessing(table=table, **fields))
        return Card(None, steps, 0, "model", None, "detection", view=DetectionConfig())
    old: AnyObjectPreprocessing = card.preprocessing
    table = old.table if said.classes is None else replace(old.table, names=said.classes)
    return replace(card, preprocessing=checked(replace(old, table=table, **changes)))
