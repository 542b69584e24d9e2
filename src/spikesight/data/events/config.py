"""The description of event data, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikesight.data.errors import DataError
from spikesight.files.ranges import Angle, Count, EventCount, Margin, Positive, Rate, Share, Steps
from spikesight.options import check_options

Slicing = Literal["count", "time"]

EVENT_FORMATS = ("cifar10_dvs", "nmnist", "dvs128_gesture", "event_folders")

# Fields of the data configuration that mean something for photos only: their neutral value, and
# what to do instead.
PHOTO_FIELDS = {
    "mean": (None, "counts are fed as they are; leave it out"),
    "std": (None, "counts are fed as they are; leave it out"),
    "crop_fraction": (1.0, "frames keep the whole sensor; leave it out"),
    "random_crop_padding": (0, "pass data.events.roll instead"),
    "random_resized_crop": (None, "pass data.events.roll and data.events.rotation instead"),
    "rand_augment": (None, "pass data.events.roll, .rotation, .shear and .cutout instead"),
    "alternate_flip": (False, "pass data.horizontal_flip instead"),
    "random_erasing": (0.0, "pass data.events.cutout instead"),
}


@dataclass
class EventConfig:
    """How recordings become frames, and how frames are augmented.

    An augmented sequence of frames first gets one of the operations that are switched on among
    roll, rotation, shear, scale and cutout, or none, each as likely (NDA: Li et al., Neuromorphic
    Data Augmentation, 2022), or by `combine` all of them; `data.horizontal_flip` mirrors half of
    the sequences.

    Attributes:
        frames: Slices T of a recording; the model's `steps` must be the same.
        slicing: `count` cuts into slices of equally many events, `time` into equal durations.
        saccades: Turns the photos of another format into events by three small saccades.
        threshold: Step of the log brightness that makes an event of a saccade.
        sensor: Width and height of the sensor, where recordings do not state them.
        max_count: Largest count of a pixel, channel and slice; larger ones saturate. Up to 127
            the integer network reads counts without rounding.
        cache_mb: Frames are made once and kept in memory if all of a split need no more MiB.
        roll: Largest shift in pixels, in both directions, around the border.
        rotation: Largest rotation, in degrees.
        shear: Largest horizontal shear, in degrees.
        scale: Largest change of the size, as a share of it.
        cutout: Largest side in pixels of a square that is emptied.
        combine: Whether an augmented sequence gets all of these operations, which few recordings
            want, instead of one or none.
        polarity: Swap positive and negative events of half of the sequences.
        jitter: Share of the events that move to the frame before or behind theirs.
        drop: Also drops events by EventDrop (Gu et al., 2021): a stretch of time, an area or
            random events, or none, each as likely.
    """

    frames: Steps = 8
    slicing: Slicing = "count"
    saccades: bool = False
    threshold: Positive = 0.25
    sensor: list[int] | None = None
    max_count: EventCount = 127
    cache_mb: Count = 1024
    roll: Margin = 0
    rotation: Angle = 0.0
    shear: Angle = 0.0
    scale: Rate = 0.0
    cutout: Margin = 0
    combine: bool = False
    polarity: bool = False
    jitter: Share = 0.0
    drop: bool = False

    def __post_init__(self) -> None:
        check_options(self, "data.events.", DataError)
        if self.sensor is not None and (len(self.sensor) != 2 or min(self.sensor) < 1):
            raise DataError(
                f"data.events.sensor is {self.sensor}; pass two numbers, width and height"
            )
