"""What happens to a recording between its file and the model, outside training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor

from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.augmentation import EventEvaluationTransform
from spikesight.data.events.frames import Slicing, event_frames
from spikesight.data.events.reading import RECORDING_SUFFIXES, read_events
from spikesight.data.events.recording import SKIPPING, Events
from spikesight.data.events.saccades import saccade_events
from spikesight.data.photos.decoding import IMAGE_SUFFIXES, decode, read_image_file
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.files.documents import check
from spikesight.files.ranges import EventCount, Positive, SensorSide, Side, Steps


@dataclass(frozen=True)
class EventPreprocessing:
    """The way from a recording to frames, kept beside a trained model.

    Attributes:
        image_size: Height and width of the frames, in pixels.
        channels: 2 (negative, positive) or 3 (positive, negative, all).
        frames: Number T of frames.
        slicing: "count" or "time"; see `event_frames`.
        max_count: Largest count; larger ones saturate.
        sensor: Width and height where recordings do not state them.
        saccades: Whether the model learned from photos that were turned into events.
        threshold: Step of the log brightness that makes an event of a saccade.
        classes: Names of the classes, in the order of the logits.
    """

    image_size: Side
    channels: Annotated[int, Meta(ge=2, le=3)]
    frames: Steps
    slicing: Slicing = "count"
    max_count: EventCount = 127
    sensor: tuple[SensorSide, SensorSide] | None = None
    saccades: bool = False
    threshold: Positive = 0.25
    classes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON, marked as those of events."""
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"kind": "events", **fields}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EventPreprocessing:
        """Rebuilds a preprocessing from `to_dict`'s plain values."""
        fields = {name: value for name, value in values.items() if name != "kind"}
        return check(fields, cls, "preprocessing", error=DataError)

    @staticmethod
    def describes(values: dict[str, Any]) -> bool:
        """Whether plain values are those of an `EventPreprocessing`."""
        return values.get("kind") == "events"

    @property
    def batch_transform(self) -> EventEvaluationTransform:
        """The last step, on batches: uint8 `[B, T, C, H, W]` to the same counts in float32."""
        return EventEvaluationTransform()

    @property
    def mean(self) -> tuple[float, ...]:
        """Counts are not shifted: 0 per channel."""
        return (0.0,) * self.channels

    @property
    def std(self) -> tuple[float, ...]:
        """Counts are not scaled: 1 per channel."""
        return (1.0,) * self.channels

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the frames as the model sees them: `[T, C, image_size, image_size]`."""
        return (self.frames, self.channels, self.image_size, self.image_size)

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of the files that `read_file` takes."""
        return RECORDING_SUFFIXES | IMAGE_SUFFIXES if self.saccades else RECORDING_SUFFIXES

    def make_frames(self, events: Events, name: str) -> Tensor:
        """Turns a recording into the model's frames.

        Args:
            events: The recording.
            name: What error messages call it.

        Returns:
            uint8 `[T, C, image_size, image_size]`.

        Raises:
            CorruptRecordingError: If there is no event.
        """
        if not len(events):
            raise CorruptRecordingError(
                f"{name}: holds no event, so there is nothing to see; remove it, {SKIPPING}"
            )
        counts = event_frames(events, self.frames, self.slicing, self.channels, self.image_size)
        return counts.clamp_(max=self.max_count).to(torch.uint8)

    def read_file(self, path: str | Path) -> Tensor:
        """Reads a recording, or a photo if the model learned from moved photos.

        Args:
            path: The file.

        Returns:
            uint8 `[T, C, image_size, image_size]`.

        Raises:
            CorruptImageError: If the file is damaged.
            DataError: If it is no recording.
        """
        if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
            return self.make_frames(read_events(path, self.sensor), str(path))
        if not self.saccades:
            raise DataError(
                f"{path}: is a photo but the model learned from recordings; pass a file ending in "
                f"{', '.join(sorted(RECORDING_SUFFIXES))}"
            )
        photo = to_tensor(decode(read_image_file(path), str(path), 1))
        return self.make_frames(saccade_events(photo, self.image_size, self.threshold), str(path))
