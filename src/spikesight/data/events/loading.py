"""Recordings from a description to batches of frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikesight.data.batches import Batch, BatchLoader, Draw, Failure
from spikesight.data.config import DataConfig
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.events.augmentation import EventTrainingTransform
from spikesight.data.events.preprocessing import EventPreprocessing
from spikesight.data.events.sources import EventSource, SaccadeRecordings
from spikesight.data.sampling import EvaluationSampler
from spikesight.data.sources import ArraySource

_CACHING_BATCH = 16


class RecordedFrames(Dataset[Batch[Tensor, Tensor]]):
    """Recordings whose frames are made each time they are drawn.

    Args:
        source: The recordings.
        preprocessing: Says how to make frames.
    """

    def __init__(self, source: EventSource, preprocessing: EventPreprocessing) -> None:
        self.source = source
        self.labels = source.labels
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    def _read(self, position: int) -> Tensor:
        recordings = self.source.recordings
        name = recordings.describe(position)
        return self.preprocessing.make_frames(recordings.read(position), name)

    def __getitem__(self, draw: Draw) -> Batch[Tensor, Tensor]:
        frames, kept, failures = [], [], []
        for index in draw.indices:
            position = int(self.source.positions[index])
            try:
                frames.append(self._read(position))
                kept.append(index)
            except DataError as error:
                name = self.source.recordings.describe(position)
                failures.append(Failure(name, str(error), isinstance(error, CorruptImageError)))
        stacked = (
            torch.stack(frames)
            if frames
            else torch.empty(_shape(self.preprocessing, 0), dtype=torch.uint8)
        )
        return Batch(stacked, self.labels[kept], tuple(failures))


def event_preprocessing(config: DataConfig, classes: list[str]) -> EventPreprocessing:
    """What turns recordings into frames, as a configuration says.

    Args:
        config: Describes the data set.
        classes: Names of the classes.
    """
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

    Args:
        source: The recordings.
        config: States the frames, the memory and what a corrupt recording does.
        workers: Processes that read.
        failed: Takes the name and reason of every recording that was skipped.

    Returns:
        Frames uint8 `[N, T, C, H, W]`, or the source itself.

    Raises:
        DataError: If not a single recording can be read.
    """
    preprocessing = event_preprocessing(config, source.classes)
    shape = _shape(preprocessing, len(source.labels))
    if shape.numel() > config.events.cache_mb << 20:
        return source
    loader = BatchLoader(
        RecordedFrames(source, preprocessing),
        EvaluationSampler(len(source.labels), in_order=True),
        _CACHING_BATCH,
        workers=workers,
        on_corrupt=config.on_corrupt,
    )
    images = torch.empty(shape, dtype=torch.uint8)
    labels = torch.empty(len(source.labels), dtype=torch.int64)
    usable = 0
    for frames, batch_labels in loader:
        end = usable + len(batch_labels)
        images[usable:end], labels[usable:end] = frames, batch_labels
        usable = end
    failed.update(loader.skipped)
    if not usable:
        raise DataError(f"{source.name}: every recording is corrupt; repair the data set")
    return ArraySource(images[:usable], labels[:usable], source.classes, source.name)


def _shape(preprocessing: EventPreprocessing, count: int) -> torch.Size:
    side = preprocessing.image_size
    return torch.Size([count, preprocessing.frames, preprocessing.channels, side, side])
