"""Labelled recordings: files, stretches of files, and photos that are moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from torch import Tensor

from spikesight.data.events.reading import read_events
from spikesight.data.events.recording import Events
from spikesight.data.events.saccades import saccade_events


class Recordings(Protocol):
    """A store of recordings, safe to use from several processes."""

    def read(self, position: int) -> Events:
        """Recording number `position`."""
        ...

    def describe(self, position: int) -> str:
        """What messages call recording number `position`."""
        ...


@dataclass(frozen=True)
class FileRecordings:
    """Recordings of one file each.

    Attributes:
        files: The files.
        sensor: Width and height where files do not state them.
    """

    files: Sequence[str]
    sensor: tuple[int, int] | None = None

    def read(self, position: int) -> Events:
        """Recording number `position`."""
        return read_events(self.files[position], self.sensor)

    def describe(self, position: int) -> str:
        """The file."""
        return self.files[position]


@dataclass(frozen=True)
class Stretch:
    """A part of a recording.

    Attributes:
        file: The file.
        start: Its first microsecond.
        stop: The microsecond after its last one.
    """

    file: str
    start: int
    stop: int


@dataclass(frozen=True)
class StretchRecordings:
    """Recordings several of which lie in one file, which is kept for the next call.

    Attributes:
        stretches: Where they are.
        sensor: Width and height where files do not state them.
    """

    stretches: Sequence[Stretch]
    sensor: tuple[int, int] | None = None

    def read(self, position: int) -> Events:
        """Recording number `position`."""
        stretch = self.stretches[position]
        return _read_whole(stretch.file, self.sensor).between(stretch.start, stretch.stop)

    def describe(self, position: int) -> str:
        """The file and the stretch's times."""
        stretch = self.stretches[position]
        return f"{stretch.file} from {stretch.start} to {stretch.stop} us"


@lru_cache(maxsize=1)
def _read_whole(file: str, sensor: tuple[int, int] | None) -> Events:
    return read_events(file, sensor)


@dataclass(frozen=True)
class SaccadeRecordings:
    """Photos that are turned into events each time they are read.

    Attributes:
        photos: uint8 `[N, 1 or 3, H, W]`.
        size: Height and width of the sensor, in pixels.
        threshold: Step of the log brightness that makes an event.
        name: What messages call the photos.
    """

    photos: Tensor
    size: int
    threshold: float
    name: str

    def read(self, position: int) -> Events:
        """The events of photo number `position`."""
        return saccade_events(self.photos[position], self.size, self.threshold)

    def describe(self, position: int) -> str:
        """The data set and the photo's number."""
        return f"{self.name}, photo {position}"


@dataclass(frozen=True)
class EventSource:
    """Labelled recordings that become frames when they are needed.

    Attributes:
        recordings: Where they are.
        positions: Each one's number in there, int64 `[N]`.
        labels: int64 `[N]`.
        classes: Names of the classes, in the order of the labels.
        name: What messages call them.
    """

    recordings: Recordings
    positions: Tensor
    labels: Tensor
    classes: list[str]
    name: str

    def select(self, indices: Tensor) -> EventSource:
        """The recordings at some positions, in that order."""
        return replace(self, positions=self.positions[indices], labels=self.labels[indices])
