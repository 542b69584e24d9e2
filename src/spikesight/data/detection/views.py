"""What a window shows of a photo with objects: resized, mirrored, and from some corner on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from spikesight.data.detection.annotated_images import cut_boxes
from spikesight.data.detection.mask_geometry import (
    mask_areas,
    mask_boxes,
    nearest,
    sampled_masks,
)
from spikesight.objects import Objects

_LEAST_SIDE = 1.0  # of a box, in pixels


@dataclass(frozen=True)
class View:
    """How a window shows a photo: resized, mirrored, and from some corner on.

    Attributes:
        photo: Height and width of the photo.
        resized: What they become.
        mirrored: Whether rows and columns come in reverse.
        corner: Row and column of the resized photo where the window begins; below 0 outside of it.
        window: Height and width of the window.
    """

    photo: tuple[int, int]
    resized: tuple[int, int]
    mirrored: Sequence[bool]
    corner: Sequence[int]
    window: tuple[int, int]

    def image(self, photo: Tensor) -> Tensor:
        """The part of a photo that the window shows, uint8 [3, h, w]."""
        image: Any = tv_tensors.Image(photo)
        if self.resized != self.photo:
            image = F.resize(image, list(self.resized), antialias=True)
        if self.mirrored[0]:
            image = F.vertical_flip(image)
        if self.mirrored[1]:
            image = F.horizontal_flip(image)
        rows, columns = (slice(*self._span(axis)) for axis in (0, 1))
        shown: Tensor = image.as_subclass(Tensor)[:, rows, columns]
        return shown

    def place(self, shown: Tensor, ground: Tensor) -> Tensor:
        """Puts what the window shows where it shows it.

        Args:
            shown: [N, h, w].
            ground: [N, *window]; it is written to.
        """
        if shown.shape == ground.shape:
            return shown
        row, column = (max(-first, 0) for first in self.corner)
        ground[:, row : row + shown.shape[1], column : column + shown.shape[2]] = shown
        return ground

    def objects(self, objects: Objects, least_visible: float) -> Objects:
        """The objects of which the window shows enough, cut off at its edges."""
        boxes: Any = tv_tensors.BoundingBoxes(objects.boxes, format="XYXY", canvas_size=self.photo)
        boxes = F.resize(boxes, list(self.resized))
        if self.mirrored[0]:
            boxes = F.vertical_flip(boxes)
        if self.mirrored[1]:
            boxes = F.horizontal_flip(boxes)
        whole = boxes.as_subclass(Tensor)
        top, left = self.corner
        cut = cut_boxes(whole - torch.tensor([left, top, left, top]), self.window)
        masks = objects.masks
        if masks is None:
            share = _areas(cut) / _areas(whole).clamp_min(1e-6)
        else:
            enlarged = self.resized[0] * self.resized[1] / (self.photo[0] * self.photo[1])
            before = mask_areas(masks) * enlarged
            masks = self._masks(masks)
            share = mask_areas(masks) / before.clamp_min(1e-6)
            cut = mask_boxes(masks)
        kept = (share >= least_visible) & (cut[:, 2:] - cut[:, :2] >= _LEAST_SIDE).all(1)
        return Objects(cut, objects.classes, objects.crowd, masks)[kept]

    def _masks(self, masks: Tensor) -> Tensor:
        """Masks [N, *photo] as the window shows them."""
        places = []
        for axis in (0, 1):
            line = nearest(self.photo[axis], self.resized[axis])
            line = line.flip(0) if self.mirrored[axis] else line
            places.append(line[slice(*self._span(axis))])
        window = torch.zeros(len(masks), *self.window, dtype=torch.bool)
        return self.place(sampled_masks(masks, *places), window)

    def _span(self, axis: int) -> tuple[int, int]:
        """The rows or columns of the resized photo that the window shows."""
        first = self.corner[axis]
        return max(first, 0), min(first + self.window[axis], self.resized[axis])


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
