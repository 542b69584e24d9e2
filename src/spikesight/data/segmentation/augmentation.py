"""Augmentation of a photo together with its segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from spikesight.data.photos.preprocessing import cut_thin
from spikesight.data.photos.randaugment import seeded
from spikesight.data.sampling import derive_seed
from spikesight.data.segmentation.scene import VOID, Scene, Truth
from spikesight.label_maps import resize_labels

_CROP_TRIES = 10


@dataclass(frozen=True)
class SceneAugmentation:
    """Random scale, crop, flip and colours, a pure function of seed, epoch and the photo's number.

    Attributes:
        crop_size: Height and width of the result.
        base_short_side: What the shorter side becomes before the random scale; None keeps it.
        scale_range: Smallest and largest random scale.
        large_scale_jitter: Whether the scale is relative to the largest size that fits into
            `crop_size` (large-scale jitter, arXiv 2012.07177) instead.
        largest_category_share: Crops in which one class has more than this share of the known
            pixels are drawn again, ten times at most; 1 takes every crop.
        flip: Whether half of the photos are mirrored.
        photometric_distortion: Whether brightness, contrast, saturation and hue change.
        fill: Colour of the border where a photo is smaller than the crop, 0..255.
        seed: Seed of all draws.
    """

    crop_size: tuple[int, int]
    base_short_side: int | None
    scale_range: tuple[float, float]
    large_scale_jitter: bool
    largest_category_share: float
    flip: bool
    photometric_distortion: bool
    fill: tuple[int, int, int]
    seed: int

    def __call__(self, scene: Scene, epoch: int, index: int) -> tuple[Tensor, Truth]:
        """Augments one scene.

        Args:
            scene: The scene.
            epoch: Number of the epoch.
            index: Number of the scene in the data set.

        Returns:
            uint8 [3, *crop_size] and its segments; what lies outside of the photo is void.
        """
        with seeded(derive_seed(self.seed, epoch, index)):
            photo, labels = scene.image, scene.truth.segment_map
            if self.base_short_side is not None:
                photo, labels = cut_thin(photo), cut_thin(labels)
            image: Any = tv_tensors.Image(photo)
            mask: Any = tv_tensors.Mask(labels)
            size = self._scaled_size(*photo.shape[1:])
            if size != list(photo.shape[1:]):
                image = F.resize(image, size, antialias=True)
                mask = tv_tensors.Mask(resize_labels(labels, size))
            height, width = self.crop_size
            down, right = max(height - size[0], 0), max(width - size[1], 0)
            if down or right:
                image = F.pad(image, [0, 0, right, down], fill=list(self.fill))
                mask = F.pad(mask, [0, 0, right, down], fill=VOID)
            top, left = self._corner(scene.truth.with_map(mask.as_subclass(Tensor)))
            image = F.crop(image, top, left, height, width)
            mask = F.crop(mask, top, left, height, width)
            if self.flip and float(torch.rand(())) < 0.5:
                image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
            if self.photometric_distortion:
                # Hue by 36 degrees: 18 of the 180 steps of OpenCV's circle.
                image = v2.RandomPhotometricDistort(
                    brightness=(0.875, 1.125), contrast=(0.5, 1.5), hue=(-0.1, 0.1)
                )(image)
        truth = scene.truth.with_map(mask.as_subclass(Tensor).contiguous())
        return image.as_subclass(Tensor).contiguous(), truth

    def _scaled_size(self, height: int, width: int) -> list[int]:
        low, high = self.scale_range
        scale = low + (high - low) * float(torch.rand(()))
        if self.large_scale_jitter:
            scale *= min(self.crop_size[0] / height, self.crop_size[1] / width)
        elif self.base_short_side is not None:
            scale *= self.base_short_side / min(height, width)
        return [max(round(height * scale), 1), max(round(width * scale), 1)]

    def _corner(self, truth: Truth) -> tuple[int, int]:
        """Upper left corner of a crop in which no class has more than its share."""
        height, width = self.crop_size
        rows, columns = (
            n - c for n, c in zip(truth.segment_map.shape, (height, width), strict=True)
        )
        top, left = _draw(rows), _draw(columns)
        if self.largest_category_share >= 1 or not (rows or columns):
            return top, left
        classes = truth.class_map()
        for _ in range(_CROP_TRIES - 1):
            part = classes[top : top + height, left : left + width]
            counts = part[part >= 0].bincount()
            if len(counts) and int(counts.max()) <= self.largest_category_share * int(counts.sum()):
                break
            top, left = _draw(rows), _draw(columns)
        return top, left


def _draw(largest: int) -> int:
    return int(torch.randint(largest + 1, ()))
