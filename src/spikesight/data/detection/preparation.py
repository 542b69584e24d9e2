"""What happens to photos or recordings before a detector sees them, whichever they are."""

from __future__ import annotations

from typing import Any

from spikesight.data.detection.augmentation import ObjectAugmentation
from spikesight.data.detection.config import ObjectConfig
from spikesight.data.detection.event_preprocessing import (
    EventObjectAugmentation,
    EventObjectPreprocessing,
)
from spikesight.data.detection.preprocessing import ObjectPreprocessing
from spikesight.data.segmentation.scene import ClassTable

AnyObjectPreprocessing = ObjectPreprocessing | EventObjectPreprocessing
AnyObjectAugmentation = ObjectAugmentation | EventObjectAugmentation


def preparation(
    config: ObjectConfig, classes: ClassTable, seed: int
) -> tuple[AnyObjectPreprocessing, AnyObjectAugmentation]:
    """What a configuration says, outside of training and within.

    Args:
        config: Describes the data set and its augmentation.
        classes: The classes.
        seed: Seed of the augmentation.
    """
    if config.holds_events:
        steps = EventObjectPreprocessing.of(config.events, config.image_size, classes)
        return steps, EventObjectAugmentation(steps, config.flip, config.vertical_flip, seed)
    fitting = ObjectPreprocessing(config.mean, config.std, config.image_size, classes)
    return fitting, ObjectAugmentation(
        config.image_size,
        config.scale_range,
        config.stretch,
        config.least_visible,
        config.flip,
        config.vertical_flip,
        config.quarter_turns,
        config.photometric_distortion,
        config.mosaic,
        fitting.fill,
        seed,
    )


def object_preprocessing_kind(
    fields: dict[str, Any],
) -> type[ObjectPreprocessing] | type[EventObjectPreprocessing]:
    """The type whose `to_dict` gave plain values."""
    if EventObjectPreprocessing.describes(fields):
        return EventObjectPreprocessing
    return ObjectPreprocessing


def fields_of_objects(preprocessing: AnyObjectPreprocessing) -> dict[str, Any]:
    """The fields of an `ObjectConfig` by which other data are shown to a trained detector."""
    fields: dict[str, Any] = {"format": "coco", "image_size": preprocessing.image_size}
    if isinstance(preprocessing, EventObjectPreprocessing):
        names = ("frames", "window", "slicing", "max_count", "sensor")
        events = {name: getattr(preprocessing, name) for name in names}
        fields |= {"format": "moving_digits", "events": events}
    return fields
