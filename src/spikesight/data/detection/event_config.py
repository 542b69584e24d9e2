"""How recordings with objects become frames, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from spikesight.data.errors import DataError
from spikesight.data.events.config import Slicing
from spikesight.files.ranges import EventCount, Positive, SensorSide, Steps
from spikesight.options import check_options

EVENT_FORMATS = ("gen1", "one_mpx", "moving_digits")

Microseconds = Annotated[int, Meta(ge=1, le=10**9)]
Least = Annotated[float, Meta(ge=0, le=2**14)]

# Fields of the configuration of objects that mean something for photos only: their neutral value.
PHOTO_FIELDS = {
    "scale_range": (1.0, 1.0),
    "stretch": 0.0,
    "quarter_turns": False,
    "photometric_distortion": False,
    "mosaic": 0.0,
    "annotations": None,
    "validation_annotations": None,
}


@dataclass
class EventObjectConfig:
    """What a detector sees of a recording before the moment at which objects are known.

    Attributes:
        frames: Slices T; the model's `steps` must be the same.
        window: Microseconds before that moment that are seen.
        slicing: `time` cuts the window into equal durations, `count` into slices of equally many
            events.
        max_count: Largest count of a pixel, polarity and slice; larger ones saturate. Up to 127
            the integer network reads counts without rounding.
        sensor: Width and height of the sensor, where recordings do not state them.
        skip: Microseconds at the begin of a recording whose boxes are left out, as in the field's
            evaluation (Perot et al., 2020), like the two below.
        least_diagonal: Boxes whose diagonal is shorter are left out; by default 30 pixels for
            `gen1` and 60 for `one_mpx`.
        least_side: Boxes of which a side is shorter are left out; by default 10 and 20 pixels.
        threshold: Step of the log brightness that makes an event of `moving_digits`.
    """

    frames: Steps = 5
    window: Microseconds = 250_000
    slicing: Slicing = "time"
    max_count: EventCount = 127
    sensor: tuple[SensorSide, SensorSide] | None = None
    skip: Annotated[int, Meta(ge=0, le=10**12)] = 500_000
    least_diagonal: Least | None = None
    least_side: Least | None = None
    threshold: Positive = 0.25

    def __post_init__(self) -> None:
        if isinstance(self.sensor, list):
            self.sensor = tuple(self.sensor)
        check_options(self, "objects.events.", DataError)
