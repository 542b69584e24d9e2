"""Augmentation of a photo together with its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from spikesight.data.detection.annotated_images import AnnotatedImage
from spikesight.data.detection.views import View
from spikesight.data.photos.randaugment import seeded
from spikesight.data.sampling import derive_generator, derive_seed
from spikesight.objects import Objects

_MOSAIC_DRAW = 1  # beside the draws of a photo's own seed
_CENTRE = (0.3, 0.7)
_IN_MOSAIC = (0.5, 1.0)


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

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the image that it returns."""
        return (3, *self.image_size)

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
        return shown.image.contiguous(), shown.objects

    def _mosaic(self, photos: Sequence[AnnotatedImage]) -> AnnotatedImage:
        """Four photos around a random point."""
        height, width = self.image_size
        row, column = (
            min(max(round(side * _between(*_CENTRE)), 1), max(side - 1, 1))
            for side in self.image_size
        )
        image = self._ground(self.image_size)
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
        mirrored = [
            asked and float(torch.rand(())) < 0.5 for asked in (self.vertical_flip, self.flip)
        ]
        corner = [_offset(has, shown) for has, shown in zip(stretched, size, strict=True)]
        view = View(turned.size, (stretched[0], stretched[1]), mirrored, corner, size)
        image = view.image(turned.image)
        if self.photometric_distortion:
            image = _recoloured(image)
        return AnnotatedImage(
            view.place(image, self._ground(size)),
            view.objects(turned.objects, self.least_visible),
        )

    def _ground(self, size: tuple[int, int]) -> Tensor:
        colour = torch.tensor(self.fill, dtype=torch.uint8)[:, None, None]
        return colour.expand(3, *size).clone()


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


def _recoloured(image: Tensor) -> Tensor:
    """Changes brightness, contrast, saturation and hue, each of half the images."""
    # Hue by 36 degrees: 18 of the 180 steps of OpenCV's circle. v2.RandomPhotometricDistort would
    # also exchange colours, which tell cells apart.
    for change in (
        v2.ColorJitter(brightness=0.125),
        v2.ColorJitter(contrast=0.5),
        v2.ColorJitter(saturation=0.5),
        v2.ColorJitter(hue=0.1),
    ):
        if float(torch.rand(())) < 0.5:
            image = change(image)
    return image


def _offset(has: int, shown: int) -> int:
    """Where a window begins; below 0 if it is larger than the image."""
    low, high = min(has - shown, 0), max(has - shown, 0)
    return low + int(torch.randint(high - low + 1, ()))


def _between(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
