"""Photos that stay in memory once they are decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from spikesight.data.detection.annotated_images import AnnotatedImage, ObjectSource
from spikesight.data.detection.mask_geometry import resized_masks
from spikesight.data.segmentation.scene import ClassTable
from spikesight.objects import Objects

_MOST_ROOM = 1 << 32  # bytes


@dataclass(frozen=True)
class _Kept:
    """An image, its objects without masks, and their masks, eight pixels to a byte.

    Tensors of objects are small blocks of memory that would lie between the large ones that
    reading takes and frees, and these would then fit nothing that comes later; lists do not.
    """

    image: Tensor
    boxes: list[list[float]]
    classes: list[int]
    crowd: list[bool]
    masks: NDArray[np.uint8] | None

    def objects(self) -> Objects:
        """The objects without masks."""
        return Objects(
            torch.tensor(self.boxes, dtype=torch.float32).reshape(-1, 4),
            torch.tensor(self.classes, dtype=torch.int64),
            torch.tensor(self.crowd, dtype=torch.bool),
        )


@dataclass(frozen=True)
class KeptImages:
    """The images of another source, each read once and then kept.

    Attributes:
        source: The other source.
        largest: Height and width within which images are kept; larger ones shrink to it.
    """

    source: ObjectSource
    largest: tuple[float, float]
    _kept: dict[tuple[int, bool], _Kept] = field(default_factory=dict, repr=False)
    _room: list[Tensor] = field(default_factory=list, repr=False)

    @property
    def classes(self) -> ClassTable:
        """The classes."""
        return self.source.classes

    @property
    def name(self) -> str:
        """What messages call the images."""
        return self.source.name

    @property
    def masks(self) -> bool:
        """Whether the objects have masks."""
        return self.source.masks

    @property
    def notes(self) -> str:
        """How much there is."""
        return self.source.notes

    def __len__(self) -> int:
        return len(self.source)

    def describe(self, index: int) -> str:
        """What messages call an image."""
        return self.source.describe(index)

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        """An image from the other source, or as it was kept."""
        kept = self._kept.get((index, masks))
        if kept is None:
            read = self._shrunk(self.source.read(index, masks))
            packed = None
            if read.objects.masks is not None:
                packed = np.packbits(read.objects.masks.numpy(), axis=-1)
            self._kept[index, masks] = _Kept(
                self._placed(index, read.image),
                read.objects.boxes.tolist(),
                read.objects.classes.tolist(),
                read.objects.crowd.tolist(),
                packed,
            )
            return read
        objects = kept.objects()
        if kept.masks is not None:
            width = kept.image.shape[2]
            unpacked = np.unpackbits(kept.masks, axis=-1, count=width).view(np.bool_)
            objects = Objects(
                objects.boxes, objects.classes, objects.crowd, torch.from_numpy(unpacked)
            )
        return AnnotatedImage(kept.image, objects)

    def _placed(self, index: int, image: Tensor) -> Tensor:
        """An image where it is kept: beside the others that have the shape of the first one."""
        if not self._room:
            count = len(self) if len(self) * image.numel() <= _MOST_ROOM else 0
            self._room.append(image.new_empty(count, *image.shape))
        (room,) = self._room
        if index >= len(room) or image.shape != room.shape[1:]:
            return image
        room[index] = image
        return room[index]

    def _shrunk(self, read: AnnotatedImage) -> AnnotatedImage:
        height, width = read.size
        factor = min(self.largest[0] / height, self.largest[1] / width)
        size = [max(round(height * factor), 1), max(round(width * factor), 1)]
        if factor >= 1 or size == [height, width]:
            return read
        objects = read.objects
        across, down = size[1] / width, size[0] / height
        masks = objects.masks
        return AnnotatedImage(
            resize(read.image, size, antialias=True),
            Objects(
                objects.boxes * torch.tensor([across, down, across, down]),
                objects.classes,
                objects.crowd,
                None if masks is None else resized_masks(masks, size),
            ),
        )
