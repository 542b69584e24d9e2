"""An image with its objects, and where such images come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spikesight.data.segmentation.scene import ClassTable
from spikesight.objects import Objects


@dataclass(frozen=True)
class AnnotatedImage:
    """An image, or the frames of a recording, and its objects.

    Attributes:
        image: uint8 [3, H, W], or counts of events, uint8 [T, 2, H, W].
        objects: What is there, in pixels of this image.
    """

    image: Tensor
    objects: Objects

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[-2], self.image.shape[-1]


class ObjectSource(Protocol):
    """Images with objects that are read one at a time, from several processes too."""

    @property
    def classes(self) -> ClassTable:
        """The classes."""
        ...

    @property
    def name(self) -> str:
        """What messages call the images."""
        ...

    @property
    def masks(self) -> bool:
        """Whether the objects have masks."""
        ...

    @property
    def notes(self) -> str:
        """How much there is, and what was left out of it, in one line."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        """Reads one image, its objects with masks if asked for and known.

        Raises:
            DataError: It cannot be used.
        """
        ...

    def describe(self, index: int) -> str:
        """What messages call image number `index`."""
        ...


def cut_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [N, 4], cut off at the edges of an image of a height and width."""
    height, width = size
    return torch.minimum(boxes.clamp_min(0), boxes.new_tensor([width, height, width, height]))


def clean(objects: Objects, size: tuple[int, int]) -> Objects:
    """Cuts boxes off at the edges of their image and leaves out those of which nothing is left.

    Args:
        objects: Of an image, with boxes that may reach out of it.
        size: Its height and width.
    """
    boxes = cut_boxes(objects.boxes, size)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Objects(boxes, objects.classes, objects.crowd, objects.masks)[kept]
