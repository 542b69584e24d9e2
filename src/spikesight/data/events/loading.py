"""Recordings from a description to batches of frames."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from spikesight.data.batches import StoredImages, read_all
from spikesight.data.config import DataConfig
from spikesight.data.events.augmentation import EventTrainingTransform
from spikesight.data.events.preprocessing import EventPreprocessing
from spikesight.data.events.sources import EventSource, SaccadeRecordings
from spikesight.data.sources import ArraySource

_CACHING_BATCH = 16


class RecordedFrames(StoredImages):
    """Recordings whose frames are made each time they are drawn.

    Args:
        source: The recordings.
        preprocessing: Says how to make frames.
    """

    def __init__(self, source: EventSource, preprocessing: EventPreprocessing) -> None:
        super().__init__(source.labels, preprocessing.input_shape)
        self.source = source
        self.preprocessing = preprocessing

    def describe(self, index: int) -> str:
        """The recording."""
        return self.source.recordings.describe(int(self.source.positions[index]))

    def read(self, index: int, epoch: int) -> Tensor:
        """Makes the frames of a recording."""
        events = self.source.recordings.read(int(self.source.positions[index]))
        return self.preprocessing.make_frames(events, self.describe(index))


def event_preprocessing(config: DataConfig, classes: list[str]) -> EventPreprocessing:
    """What turns recordings into frames, as a configuration says."""
    events = config.events
    return EventPreprocessing(
        config.image_size,
        config.channels,
        events.frames,
        events.slicing,
        events.max_count,
        None if events.sensor is None else (events.sensor[0], events.sensor[1]),
        events.saccades,
        events.threshold,
        tuple(classes),
    )


def event_training_transform(config: DataConfig) -> EventTrainingTransform:
    """The augmentation that a configuration asks for."""
    events = config.events
    return EventTrainingTransform(
        config.horizontal_flip,
        events.roll,
        events.rotation,
        events.shear,
        events.cutout,
        events.drop,
        events.scale,
        events.combine,
        events.polarity,
        events.jitter,
    )


def match_config(config: DataConfig, preprocessing: EventPreprocessing) -> DataConfig:
    """A configuration that makes frames as a trained model expects them."""
    events = replace(
        config.events,
        frames=preprocessing.frames,
        slicing=preprocessing.slicing,
        max_count=preprocessing.max_count,
        threshold=preprocessing.threshold,
    )
    return replace(
        config,
        image_size=preprocessing.image_size,
        channels=2 if preprocessing.channels == 2 else 3,
        events=events,
    )


def move_photos(source: ArraySource, config: DataConfig) -> EventSource:
    """Photos in memory as recordings of saccades.

    Args:
        source: uint8 photos `[N, 1 or 3, H, W]`.
        config: States the sensor's size and threshold.
    """
    recordings = SaccadeRecordings(
        source.images, config.image_size, config.events.threshold, source.name
    )
    positions = torch.arange(len(source.labels))
    return EventSource(recordings, positions, source.labels, source.classes, source.name)


def keep_if_small(
    source: EventSource, config: DataConfig, workers: int, failed: dict[str, str]
) -> ArraySource | EventSource:
    """Makes all frames at once if they need no more memory than the configuration grants.

    Returns:
        Frames uint8 `[N, T, C, H, W]`, or the source itself.

    Raises:
        DataError: If not a single recording can be read.
    """
    preprocessing = event_preprocessing(config, source.classes)
    if len(source.labels) * math.prod(preprocessing.input_shape) > config.events.cache_mb << 20:
        return source
    frames = RecordedFrames(source, preprocessing)
    return read_all(source, frames, _CACHING_BATCH, workers, config.on_corrupt, failed)
