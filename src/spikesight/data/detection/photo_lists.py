"""Photos in files, with what annotation files say of their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.data.detection.annotated_images import AnnotatedImage, clean
from spikesight.data.detection.stored_masks import StoredMask, decode_masks
from spikesight.data.errors import DataError
from spikesight.data.segmentation.files import read_photo
from spikesight.data.segmentation.scene import ClassTable
from spikesight.files.names import show
from spikesight.objects import Objects

_ROUNDED = 1e-5  # a share that was written with six decimals is out by less


@dataclass
class Tally:
    """What a reader left out of a set or changed in it, counted.

    Attributes:
        zero_size: Boxes without an area, left out.
        outside: Boxes wholly outside of their photo, left out.
        other_classes: Boxes of classes that were not asked for, left out.
        missing: Photos that are not on the disk, left out.
        twice: Further entries of a photo, left out.
        cut: Boxes that reached out of their photo, cut off at its edges.
    """

    zero_size: int = 0
    outside: int = 0
    other_classes: int = 0
    missing: int = 0
    twice: int = 0
    cut: int = 0

    def counts(self) -> dict[str, int]:
        """What it was, and how many of it."""
        return {
            "boxes of zero size, left out": self.zero_size,
            "boxes outside of their photo, left out": self.outside,
            "boxes of other classes, left out": self.other_classes,
            "boxes cut off at the edge of their photo": self.cut,
            "photos missing on the disk": self.missing,
            "photos listed twice": self.twice,
        }


@dataclass(frozen=True)
class ListedPhoto:
    """A photo's file and its objects.

    Attributes:
        file: The photo.
        size: Height and width that the annotations state; None where they state none.
        boxes: float32 [N, 4], left, top, right and bottom edge, in pixels or, of a list that is
            `relative`, as shares of the photo's width and height.
        classes: int64 [N].
        crowd: bool [N].
        masks: N masks as they are stored, None of an object without one; None without masks.
    """

    file: Path
    size: tuple[int, int] | None
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    masks: tuple[StoredMask | None, ...] | None = None

    def sorted_out(self, limits: tuple[float, float], tally: Tally) -> ListedPhoto:
        """The photo without boxes that are none, which are counted.

        Args:
            limits: Height and width that boxes must lie within.
            tally: What is counted so far.
        """
        height, width = limits
        edges = np.array([width, height, width, height], np.float32)
        cut = self.boxes.clip(0, edges)
        sized = np.all(self.boxes[:, 2:] > self.boxes[:, :2], axis=1)
        kept = sized & np.all(cut[:, 2:] > cut[:, :2], axis=1)
        tally.zero_size += int((~sized).sum())
        tally.outside += int((sized & ~kept).sum())
        tally.cut += int((kept & (np.abs(cut - self.boxes) > _ROUNDED * edges).any(1)).sum())
        masks = self.masks
        if masks is not None:
            masks = tuple(mask for mask, used in zip(masks, kept.tolist(), strict=True) if used)
        return replace(
            self,
            boxes=cut[kept],
            classes=self.classes[kept],
            crowd=self.crowd[kept],
            masks=masks,
        )


@dataclass(frozen=True)
class PhotoList:
    """Photos whose annotations have been read.

    Attributes:
        photos: The photos.
        classes: The classes.
        name: What messages call the photos.
        tally: What was left out of the set.
        masks: Whether objects have masks.
        relative: Whether boxes are shares of the photo's width and height.
    """

    photos: Sequence[ListedPhoto]
    classes: ClassTable
    name: str
    tally: Tally = field(compare=False)
    masks: bool = False
    relative: bool = False

    def __post_init__(self) -> None:
        if not self.photos:
            raise DataError(
                f"{self.name}: holds no photo that can be used ({self.notes}); correct objects.path"
            )
        if not any(len(photo.classes) for photo in self.photos):
            raise DataError(
                f"{self.name}: not one of its photos has an object ({self.notes}); pass another "
                "part or complete the annotations"
            )

    @property
    def notes(self) -> str:
        """How much there is, and what was left out of the set that it is a part of."""
        boxes = sum(len(photo.classes) for photo in self.photos)
        masks = [mask for photo in self.photos for mask in photo.masks or ()]
        counts = {
            "crowds or to be ignored": sum(int(photo.crowd.sum()) for photo in self.photos),
            "without a mask": masks.count(None) if self.masks else 0,
            "photos without objects": sum(not len(photo.classes) for photo in self.photos),
            **self.tally.counts(),
        }
        parts = [f"{what}: {number:,}" for what, number in counts.items() if number]
        return "; ".join([f"{len(self.photos):,} photos, {boxes:,} boxes", *parts])

    def select(self, chosen: Sequence[int]) -> PhotoList:
        """Some of the photos, by their places."""
        return replace(self, photos=[self.photos[place] for place in chosen])

    def __len__(self) -> int:
        return len(self.photos)

    def describe(self, index: int) -> str:
        """The photo's path."""
        return str(self.photos[index].file)

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        """Reads a photo and its objects.

        Raises:
            CorruptImageError: The photo cannot be decoded.
            DataError: The photo is not of the size that its annotations state, or a mask is
                damaged.
        """
        listed = self.photos[index]
        image = read_photo(listed.file)
        height, width = image.shape[1:]
        if listed.size is not None and listed.size != (height, width):
            stated = f"{listed.size[1]}x{listed.size[0]}"
            raise DataError(
                f"{show(listed.file)}: has {width}x{height} pixels but its annotations ("
                f"{self.name}) say {stated}; correct them or replace the photo"
            )
        boxes = torch.from_numpy(listed.boxes.copy())
        if self.relative:
            boxes *= torch.tensor([width, height, width, height])
        objects = Objects(
            boxes, torch.from_numpy(listed.classes.copy()), torch.from_numpy(listed.crowd.copy())
        )
        if masks and self.masks:
            stored = listed.masks or (None,) * len(objects)
            objects = decode_masks(objects, stored, (height, width), listed.file)
        return AnnotatedImage(image, clean(objects, (height, width)))
