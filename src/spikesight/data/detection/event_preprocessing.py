"""What happens to a recording between its file and a detector, and how its frames are mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor

from spikesight.data.detection.annotated_images import AnnotatedImage
from spikesight.data.detection.event_config import EventObjectConfig, Microseconds
from spikesight.data.detection.preprocessing import Fit, fitted_size
from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.augmentation import EventEvaluationTransform
from spikesight.data.events.config import Slicing
from spikesight.data.events.frames import event_frames
from spikesight.data.events.pictures import colour_frames
from spikesight.data.events.reading import RECORDING_SUFFIXES, read_events
from spikesight.data.events.recording import SKIPPING, Events
from spikesight.data.sampling import derive_generator
from spikesight.data.segmentation.scene import ClassTable
from spikesight.files.documents import check
from spikesight.files.ranges import EventCount, SensorSide, Side, Steps
from spikesight.objects import Objects

_LARGEST_COUNT = 255


@dataclass(frozen=True)
class EventObjectPreprocessing:
    """The way from events to a detector's frames, kept beside it, and what its classes are called.

    Attributes:
        image_size: Height and width of the frames.
        frames: Number T of frames.
        window: Microseconds that they show.
        table: The classes.
        slicing: "time" or "count"; see `event_frames`.
        max_count: Largest count; larger ones saturate.
        sensor: Width and height where recordings do not state them.
        channels: Negative and positive.
    """

    image_size: tuple[Side, Side]
    frames: Steps
    window: Microseconds
    table: ClassTable
    slicing: Slicing = "time"
    max_count: EventCount = 127
    sensor: tuple[SensorSide, SensorSide] | None = None
    channels: Annotated[int, Meta(ge=2, le=2)] = 2

    @classmethod
    def of(
        cls, config: EventObjectConfig, image_size: tuple[int, int], table: ClassTable
    ) -> EventObjectPreprocessing:
        """What a configuration says, for frames of a height and width."""
        return cls(
            image_size,
            config.frames,
            config.window,
            table,
            config.slicing,
            config.max_count,
            config.sensor,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.table.names

    @property
    def batch_transform(self) -> EventEvaluationTransform:
        """The last step, on batches: uint8 [B, T, C, H, W] to the same counts in float32."""
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
        """Shape of the frames as the model sees them."""
        return (self.frames, self.channels, *self.image_size)

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of the files that `read_file` takes."""
        return RECORDING_SUFFIXES

    def read(self, path: str | Path) -> Tensor:
        """The frames of the last window of a recording, uint8 [T, 2, H, W], before they are fitted.

        Raises:
            CorruptRecordingError: If the file is damaged or holds no event.
            DataError: If it is no recording.
        """
        events = read_events(path, self.sensor)
        if not len(events):
            raise CorruptRecordingError(
                f"{path}: holds no event, so there is nothing to see; remove it, {SKIPPING}"
            )
        return window_frames(events, int(events.t[-1]) + 1, self.window, self.frames, self.slicing)

    def read_file(self, path: str | Path) -> Tensor:
        """The frames of the last window of a recording, as the model sees them."""
        return self.fit(self.read(path))[0]

    def picture(self, image: Tensor) -> Tensor:
        """What is drawn of frames [T, 2, H, W]: the last one in colours, uint8 [3, H, W]."""
        return colour_frames(image)[-1]

    def fit(self, image: Tensor) -> tuple[Tensor, Fit]:
        """Puts frames into the left upper corner of the model's, and what is larger shrinks.

        Counts of pixels that fall together are added, so no event is lost but where they saturate.

        Args:
            image: Counts, uint8 [T, 2, H, W].

        Returns:
            uint8 [T, 2, *image_size], and where the sensor lies in it.

        Raises:
            DataError: If there are more or fewer frames than the model sees.
        """
        if len(image) != self.frames:
            raise DataError(
                f"a sample has {len(image)} frames and the model learned from {self.frames}; pass "
                f"objects.events.frames={self.frames}"
            )
        height, width = image.shape[-2:]
        rows, columns = self.image_size
        shown = (height, width)
        if height > rows or width > columns:
            shown = fitted_size(shown, self.image_size)
        counts = image.to(torch.int32)
        for axis, side, fitted in ((2, height, shown[0]), (3, width, shown[1])):
            if fitted != side:
                places = torch.arange(side) * fitted // side
                pooled = counts.new_zeros(
                    [fitted if a == axis else n for a, n in enumerate(counts.shape)]
                )
                counts = pooled.index_add_(axis, places, counts)
        fitted_frames = counts.clamp_(max=self.max_count).to(torch.uint8)
        if shown != self.image_size:
            ground = fitted_frames.new_zeros(*image.shape[:2], rows, columns)
            ground[..., : shown[0], : shown[1]] = fitted_frames
            fitted_frames = ground
        return fitted_frames, Fit((height, width), shown)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON, marked as those of events."""
        return {"kind": "event_objects", **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EventObjectPreprocessing:
        """Rebuilds a preprocessing from `to_dict`'s plain values."""
        fields = {name: value for name, value in values.items() if name != "kind"}
        return check(fields, cls, "preprocessing", error=DataError)

    @staticmethod
    def describes(values: dict[str, Any]) -> bool:
        """Whether plain values are those of an `EventObjectPreprocessing`."""
        return values.get("kind") == "event_objects"


@dataclass(frozen=True)
class EventObjectAugmentation:
    """Mirrors frames and their objects at random; a pure function of seed, epoch and number.

    Attributes:
        preprocessing: Fits frames into the model's.
        flip: Whether half of the samples are mirrored left to right.
        vertical_flip: Whether half of them are mirrored top to bottom.
        seed: Seed of all draws.
    """

    preprocessing: EventObjectPreprocessing
    flip: bool
    vertical_flip: bool
    seed: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what it returns."""
        return self.preprocessing.input_shape

    def partners(self, epoch: int, index: int, count: int) -> list[int]:
        """None: frames are not put together of several recordings."""
        return []

    def __call__(
        self, photos: Sequence[AnnotatedImage], epoch: int, index: int
    ) -> tuple[Tensor, Objects]:
        """Mirrors and fits the frames of one sample.

        Args:
            photos: That sample.
            epoch: Number of the epoch.
            index: Its number in the data set.

        Returns:
            uint8 [T, 2, *image_size] and its objects.
        """
        (sample,) = photos
        frames, boxes = sample.image, sample.objects.boxes.clone()
        draws = torch.rand(2, generator=derive_generator(self.seed, epoch, index)) < 0.5
        sides = (sample.size[1], sample.size[0])
        for axis, (drawn, asked) in enumerate(
            zip(draws.tolist(), (self.flip, self.vertical_flip), strict=True)
        ):
            if drawn and asked:
                frames = frames.flip(3 - axis)
                boxes[:, [axis, axis + 2]] = sides[axis] - boxes[:, [axis + 2, axis]]
        fitted, fit = self.preprocessing.fit(frames)
        across, down = (fit.shown[axis] / fit.photo[axis] for axis in (1, 0))
        objects = sample.objects
        boxes *= boxes.new_tensor([across, down, across, down])
        return fitted, Objects(boxes, objects.classes, objects.crowd)


def window_frames(
    events: Events, stop: int, window: int, frames: int, slicing: Slicing = "time"
) -> Tensor:
    """The frames of the events before a moment.

    Args:
        events: The recording.
        stop: The moment, in microseconds; what comes then is not seen.
        window: Microseconds before it that are seen.
        frames: Number T of frames.
        slicing: "time" or "count"; see `event_frames`.

    Returns:
        Counts (negative, positive), uint8 [T, 2, H, W]; they saturate at 255.
    """
    span = (stop - window, stop)
    counts = event_frames(events.between(*span), frames, slicing, span=span)
    return counts.clamp_(max=_LARGEST_COUNT).to(torch.uint8)
