"""Augmentation of a photo together with its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nn_functional
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from spikesight.data.detection.annotated_images import AnnotatedImage
from spikesight.data.detection.digit_scenes import boxes_of_masks
from spikesight.data.photos.randaugment import seeded
from spikesight.data.sampling import derive_generator, derive_seed
from spikesight.objects import Objects

_MOSAIC_DRAW = 1  # beside the draws of a photo's own seed
_CENTRE = (0.3, 0.7)
_IN_MOSAIC = (0.5, 1.0)
_LEAST_SIDE = 1.0  # of a box, in pixels


@dataclass(frozen=True)
class ObjectAugmentation:
    """Random size, place, mirroring, turns and colours, and mosaics of four photos.

    A pure function of seed, epoch and the photo's number.

    Attributes:
        image_size: Height and width of the result.
        scale_range: Smallest and largest size, relative to the largest that fits.
        stretch: Height and width differ by up to this share from that, each by itself.
        least_visible: Share of an object's area that must be within the result.
        flip: Whether half of the photos are mirrored left to right.
        vertical_flip: Whether half of them are mirrored top to bottom.
        quarter_turns: Whether they are turned by multiples of 90 degrees.
        photometric_distortion: Whether brightness, contrast, saturation and hue change.
        mosaic: Share of the results that are put together of four photos.
        fill: Colour of what no photo covers, 0..255.
        seed: Seed of all draws.
    """

    image_size: tuple[int, int]
    scale_range: tuple[float, float]
    stretch: float
    least_visible: float
    flip: bool
    vertical_flip: bool
    quarter_turns: bool
    photometric_distortion: bool
    mosaic: float
    fill: tuple[int, int, int]
    seed: int

    def partners(self, epoch: int, index: int, count: int) -> list[int]:
        """The photos beside which a photo is shown: three for a mosaic, else none.

        Args:
            epoch: Number of the epoch.
            index: Number of the photo in the data set.
            count: Photos of the data set.
        """
        if self.mosaic == 0:
            return []
        generator = derive_generator(self.seed, epoch, index, _MOSAIC_DRAW)
        if float(torch.rand((), generator=generator)) >= self.mosaic:
            return []
        return torch.randint(count, (3,), generator=generator).tolist()

    def __call__(
        self, photos: Sequence[AnnotatedImage], epoch: int, index: int
    ) -> tuple[Tensor, Objects]:
        """Augments a photo, alone or in a mosaic.

        Args:
            photos: The photo, and those of `partners`.
            epoch: Number of the epoch.
            index: Number of the photo in the data set.

        Returns:
            uint8 [3, *image_size] and its objects.
        """
        with seeded(derive_seed(self.seed, epoch, index)):
            if len(photos) == 1:
                shown = self._window(photos[0], self.image_size, 1.0)
            else:
                shown = self._mosaic(photos)
            image = shown.image
            if self.photometric_distortion:
                # Hue by 36 degrees: 18 of the 180 steps of OpenCV's circle.
                image = v2.RandomPhotometricDistort(
                    brightness=(0.875, 1.125), contrast=(0.5, 1.5), hue=(-0.1, 0.1)
                )(image)
        return image.contiguous(), shown.objects

    def _mosaic(self, photos: Sequence[AnnotatedImage]) -> AnnotatedImage:
        """Four photos around a random point."""
        height, width = self.image_size
        row, column = (
            min(max(round(side * _between(*_CENTRE)), 1), max(side - 1, 1))
            for side in self.image_size
        )
        image = self._ground()
        parts = []
        for number, photo in enumerate(photos):
            top, bottom = (0, row) if number < 2 else (row, height)
            left, right = (0, column) if number % 2 == 0 else (column, width)
            if bottom <= top or right <= left:  # an image of one pixel's height or width
                continue
            part = self._window(photo, (bottom - top, right - left), _between(*_IN_MOSAIC))
            image[:, top:bottom, left:right] = part.image
            parts.append(_placed(part.objects, top, left, self.image_size))
        masks = [part.masks for part in parts if part.masks is not None]
        objects = Objects(
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.classes for part in parts]),
            torch.cat([part.crowd for part in parts]),
            torch.cat(masks) if len(masks) == len(parts) else None,
        )
        return AnnotatedImage(image, objects)

    def _window(
        self, photo: AnnotatedImage, size: tuple[int, int], factor: float
    ) -> AnnotatedImage:
        """A photo turned, mirrored and resized, and what a window of a size shows of it.

        Args:
            photo: The photo.
            size: Height and width of the window.
            factor: By which the photo is smaller than elsewhere.
        """
        turned = _turned(photo, int(torch.randint(4, ()))) if self.quarter_turns else photo
        height, width = turned.size
        scale = factor * _between(*self.scale_range)
        scale *= min(self.image_size[0] / height, self.image_size[1] / width)
        stretched = [
            max(round(side * scale * _between(1 - self.stretch, 1 + self.stretch)), 1)
            if self.stretch
            else max(round(side * scale), 1)
            for side in (height, width)
        ]
        objects = turned.objects
        image: Any = tv_tensors.Image(turned.image)
        boxes: Any = tv_tensors.BoundingBoxes(
            objects.boxes, format="XYXY", canvas_size=(height, width)
        )
        masks = objects.masks
        if stretched != [height, width]:
            image = F.resize(image, stretched, antialias=True)
            boxes = F.resize(boxes, stretched)
            masks = None if masks is None else resized_masks(masks, stretched)
        if self.flip and float(torch.rand(())) < 0.5:
            image, boxes = F.horizontal_flip(image), F.horizontal_flip(boxes)
            masks = None if masks is None else masks.flip(2)
        if self.vertical_flip and float(torch.rand(())) < 0.5:
            image, boxes = F.vertical_flip(image), F.vertical_flip(boxes)
            masks = None if masks is None else masks.flip(1)
        top, left = (_offset(has, shown) for has, shown in zip(stretched, size, strict=True))
        objects = Objects(boxes.as_subclass(Tensor), objects.classes, objects.crowd, masks)
        return AnnotatedImage(
            self._cropped(image.as_subclass(Tensor), top, left, size),
            self._visible(objects, top, left, size),
        )

    def _ground(self, size: tuple[int, int] | None = None) -> Tensor:
        colour = torch.tensor(self.fill, dtype=torch.uint8)[:, None, None]
        return colour.expand(3, *(size or self.image_size)).clone()

    def _cropped(self, image: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
        if tuple(image.shape[1:]) == size:
            return image
        ground = self._ground(size)
        _paste(ground, image, top, left)
        return ground

    def _visible(self, objects: Objects, top: int, left: int, size: tuple[int, int]) -> Objects:
        """The objects of which enough lies in a window, cut off at its edges."""
        boxes = tv_tensors.BoundingBoxes(
            objects.boxes - torch.tensor([left, top, left, top]), format="XYXY", canvas_size=size
        )
        cut = F.clamp_bounding_boxes(boxes).as_subclass(Tensor)
        masks = objects.masks
        if masks is None:
            share = _areas(cut) / _areas(objects.boxes).clamp_min(1e-6)
        else:
            window = torch.zeros(len(masks), *size, dtype=torch.bool)
            _paste(window, masks, top, left)
            whole = masks.sum((1, 2))
            share = window.sum((1, 2)) / whole.clamp_min(1)
            cut, masks = boxes_of_masks(window), window
        kept = (share >= self.least_visible) & (cut[:, 2:] - cut[:, :2] >= _LEAST_SIDE).all(1)
        return Objects(cut, objects.classes, objects.crowd, masks)[kept]


def _paste(ground: Tensor, image: Tensor, top: int, left: int) -> None:
    """Puts what a window at (top, left) of an image [..., H, W] shows on a ground of its size."""
    height, width = ground.shape[-2:]
    bottom, right = (
        min(top + height, image.shape[-2]),
        min(left + width, image.shape[-1]),
    )
    shown = image[..., max(top, 0) : bottom, max(left, 0) : right]
    down, across = max(-top, 0), max(-left, 0)
    ground[..., down : down + shown.shape[-2], across : across + shown.shape[-1]] = shown


def _placed(objects: Objects, top: int, left: int, size: tuple[int, int]) -> Objects:
    """The objects of a part of an image, in the image."""
    masks = objects.masks
    if masks is not None:
        whole = torch.zeros(len(masks), *size, dtype=torch.bool)
        whole[:, top : top + masks.shape[1], left : left + masks.shape[2]] = masks
        masks = whole
    boxes = objects.boxes + torch.tensor([left, top, left, top])
    return Objects(boxes, objects.classes, objects.crowd, masks)


def _turned(photo: AnnotatedImage, turns: int) -> AnnotatedImage:
    """Turns by quarters, counter-clockwise."""
    image, objects = photo.image, photo.objects
    boxes, masks = objects.boxes, objects.masks
    for _ in range(turns):
        width = image.shape[2]
        left, top, right, bottom = boxes.unbind(1)
        boxes = torch.stack([top, width - right, bottom, width - left], 1)
        image = image.rot90(1, (1, 2))
        masks = None if masks is None else masks.rot90(1, (1, 2))
    return AnnotatedImage(image, Objects(boxes, objects.classes, objects.crowd, masks))


def resized_masks(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks at another size: each new pixel is the old one below its centre.

    Args:
        masks: bool [N, H, W].
        size: Height and width.
    """
    if tuple(masks.shape[1:]) == tuple(size) or not len(masks):
        return masks if len(masks) else masks.new_zeros(0, *size)
    resized = nn_functional.interpolate(masks[None].byte(), tuple(size), mode="nearest-exact")
    return resized[0].bool()


def _offset(has: int, shown: int) -> int:
    """Where a window begins; below 0 if it is larger than the image."""
    low, high = min(has - shown, 0), max(has - shown, 0)
    return low + int(torch.randint(high - low + 1, ()))


def _between(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
