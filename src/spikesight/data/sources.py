"""Labelled images as a reader hands them over: decoded in one array, or still encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.events.sources import EventSource
from spikesight.data.part_folders import Part


class Archive(Protocol):
    """A store of encoded files, safe to use from several threads and processes."""

    names: list[str]
    """Path of each file inside the store, with forward slashes."""
    folders: set[str]
    """Path of each folder inside the store, empty ones included."""
    repeated: dict[str, str]
    """Links to folders that are not entered, as the files of the folder are there already."""
    path: str
    """Where the store is, for messages."""

    def read(self, position: int) -> bytes:
        """The content of file number `position`."""
        ...

    def describe(self, position: int) -> str:
        """What messages call file number `position`."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Images that are decoded already.

    Attributes:
        images: uint8 `[N, 1 or 3, H, W]`, or frames of events `[N, T, 2 or 3, H, W]`.
        labels: int64 `[N]`.
        classes: Names of the classes, in the order of the labels.
        name: What messages call the images.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    name: str

    def select(self, indices: Tensor) -> ArraySource:
        """The images at some positions, in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])


@dataclass(frozen=True)
class EncodedSource:
    """Images that stay encoded in an archive until they are needed.

    Attributes:
        archive: Where they are.
        positions: Each image's position in the archive, int64 `[N]`.
        labels: int64 `[N]`.
        classes: Names of the classes, in the order of the labels.
        name: What messages call the images.
    """

    archive: Archive
    positions: Tensor
    labels: Tensor
    classes: list[str]
    name: str

    def select(self, indices: Tensor) -> EncodedSource:
        """The images at some positions, in that order."""
        return replace(self, positions=self.positions[indices], labels=self.labels[indices])


Source = ArraySource | EncodedSource | EventSource
Parts = Mapping[Part, Callable[[], Source]]


def check_labels(labels: Tensor, classes: Sequence[str], name: str) -> None:
    """Refuses labels that name no class.

    Args:
        labels: int64 `[N]`.
        classes: Names of the classes.
        name: What the message calls the labels' file.

    Raises:
        DataError: A label is below 0 or not below the number of classes.
    """
    outside = ((labels < 0) | (labels >= len(classes))).nonzero().flatten()
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"{name}: label {int(labels[first])} of image {first} is out of range for "
            f"{len(classes)} classes ({len(outside)} such labels); correct the labels or give "
            "as many class names as there are classes"
        )


def relabel(source: Source, classes: Sequence[str]) -> Source:
    """Numbers a source's labels by another list of class names.

    Args:
        source: The images.
        classes: The names to number by; they must hold every name of the source that has images.

    Returns:
        The same images with labels in the order of `classes`.

    Raises:
        DataError: A class of the source is not among `classes`.
    """
    if source.classes == list(classes):
        return source
    numbers = {name: number for number, name in enumerate(classes)}
    used = [source.classes[label] for label in sorted(set(source.labels.tolist()))]
    unknown = [name for name in used if name not in numbers]
    if unknown:
        raise DataError(
            f"{source.name}: class {unknown[0]!r} is not among the {len(classes)} classes of the "
            f"training images ({', '.join(list(classes)[:10])}, ...); rename or remove it"
        )
    table = torch.tensor([numbers.get(name, -1) for name in source.classes])
    return replace(source, labels=table[source.labels], classes=list(classes))
