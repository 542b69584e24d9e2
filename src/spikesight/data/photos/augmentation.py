"""Augmentation and normalisation of whole batches, on the device where the batch is."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ERASED_AREA = (0.02, 1 / 3)
ERASED_ASPECT = (0.3, 3.3)
CROP_ASPECT = (3 / 4, 4 / 3)


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalises images channel by channel.

    Args:
        images: `[B, C, H, W]`, uint8 or float, in 0..255.
        mean: One value per channel, of images in 0..1.
        std: One value per channel, of images in 0..1.

    Returns:
        float32 `[B, C, H, W]`, a new tensor.
    """
    scale = torch.tensor([1 / (255 * deviation) for deviation in std])
    shift = torch.tensor([-m / deviation for m, deviation in zip(mean, std, strict=True)])
    scale, shift = (v.view(1, -1, 1, 1).to(images.device) for v in (scale, shift))
    return images.to(torch.float32, copy=True).mul_(scale).add_(shift)


@dataclass(frozen=True)
class EvaluationTransform:
    """Normalises a batch and changes nothing else.

    Attributes:
        mean: Mean per channel of images in 0..1.
        std: Standard deviation per channel of images in 0..1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normalises a batch.

        Args:
            images: `[B, C, H, W]`, uint8 or float, in 0..255.
            generator: Not used; there so that both transforms are called alike.

        Returns:
            float32 `[B, C, H, W]`.
        """
        if images.is_floating_point() and images.numel() and 0 < float(images.max()) <= 1:
            warnings.warn(
                f"the images are at most {float(images.max()):.3g} and are taken for 0..255, so "
                "they look black; pass bytes, or multiply by 255",
                stacklevel=2,
            )
        return normalize(images, self.mean, self.std)


@dataclass(frozen=True)
class TrainingTransform:
    """Augments a batch, every image by its own draw, and normalises it.

    The steps, in this order: random resized crop, random crop after padding with black,
    horizontal flip, normalisation, random erasing.

    Attributes:
        mean: Mean per channel of images in 0..1.
        std: Standard deviation per channel of images in 0..1.
        random_resized_crop: Smallest share of the area to keep, or None.
        random_crop_padding: Pixels of border before a random crop.
        horizontal_flip: Mirror an image with probability 1/2.
        random_erasing: Probability of setting a rectangle to the mean colour.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    random_resized_crop: float | None = None
    random_crop_padding: int = 0
    horizontal_flip: bool = False
    random_erasing: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augments and normalises a batch.

        Args:
            images: uint8 `[B, C, H, W]`, on any device.
            generator: Source of all randomness. One on the CPU gives the same augmentation
                whatever device the images are on.

        Returns:
            float32 `[B, C, H, W]` on the images' device.
        """
        if self.random_resized_crop is not None:
            images = resized_crop(images, self.random_resized_crop, generator)
        if self.random_crop_padding or self.horizontal_flip:
            images = shift_and_flip(
                images, self.random_crop_padding, self.horizontal_flip, generator
            )
        images = normalize(images, self.mean, self.std)
        if self.random_erasing:
            images = erase_(images, self.random_erasing, generator)
        return images


def draw(count: int, generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draws `count` uniform numbers, float32 `[count]`, on the generator's device."""
    values = torch.rand(count, generator=generator, device=generator.device)
    return values * (high - low) + low


def draw_box(
    count: int, area: tuple[float, float], aspect: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws box sizes, uniform in area and in the logarithm of the aspect.

    Args:
        count: Number of boxes.
        area: Smallest and largest share of the image's area.
        aspect: Smallest and largest width over height.
        generator: Source of randomness.

    Returns:
        Heights and widths as shares of the image's, each `[count]`, at most 1.
    """
    areas = draw(count, generator, *area)
    aspects = draw(count, generator, math.log(aspect[0]), math.log(aspect[1])).exp()
    return (areas / aspects).sqrt().clamp_(max=1), (areas * aspects).sqrt().clamp_(max=1)


def shift_and_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Crops each image at random after padding it with zeros, and mirrors half of them.

    Args:
        images: `[B, C, H, W]`.
        padding: Width of the border of zeros, in pixels.
        flip: Whether to mirror with probability 1/2.
        generator: Source of randomness.

    Returns:
        `[B, C, H, W]` of the same type.
    """
    count, _, height, width = images.shape
    device = images.device
    top, left = (
        torch.randint(2 * padding + 1, (count,), generator=generator, device=generator.device)
        for _ in range(2)
    )
    rows = top.to(device)[:, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(count, width)
    if flip:
        mirrored = (draw(count, generator) < 0.5).to(device)
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    columns = columns + left.to(device)[:, None]
    padded = F.pad(images, (padding, padding, padding, padding))
    padded_width = width + 2 * padding
    positions = rows[:, :, None] * padded_width + columns[:, None, :]
    positions = positions.view(count, 1, height * width).expand(-1, images.shape[1], -1)
    return padded.flatten(2).gather(2, positions).view(images.shape)


def resized_crop(images: Tensor, min_area: float, generator: torch.Generator) -> Tensor:
    """Crops a random box out of each image and resizes it to the image's size (bilinear).

    Args:
        images: `[B, C, H, W]`, uint8 or float.
        min_area: Smallest share of the area to keep; the largest is 1.
        generator: Source of randomness.

    Returns:
        float32 `[B, C, H, W]`.
    """
    count = images.shape[0]
    heights, widths = draw_box(count, (min_area, 1.0), CROP_ASPECT, generator)
    theta = torch.zeros(count, 2, 3, device=generator.device)
    theta[:, 0, 0] = widths
    theta[:, 1, 1] = heights
    theta[:, 0, 2] = draw(count, generator, -1, 1) * (1 - widths)
    theta[:, 1, 2] = draw(count, generator, -1, 1) * (1 - heights)
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def erase_(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Sets a random rectangle of some images to zero, in place.

    Area and aspect follow Zhong et al., Random Erasing Data Augmentation, algorithm 1 with the
    ranges of torchvision; a rectangle that would not fit is cut to the image's side.

    Args:
        images: `[B, C, H, W]`, normalised, so that zero is the mean colour.
        probability: Share of the images that lose a rectangle.
        generator: Source of randomness.

    Returns:
        The same tensor.
    """
    count, _, height, width = images.shape
    heights, widths = draw_box(count, ERASED_AREA, ERASED_ASPECT, generator)
    heights, widths = (heights * height).round(), (widths * width).round()
    top = (draw(count, generator) * (height - heights + 1)).floor()
    left = (draw(count, generator) * (width - widths + 1)).floor()
    heights = heights * (draw(count, generator) < probability)
    top, left, heights, widths = (
        v.to(images.device)[:, None] for v in (top, left, heights, widths)
    )
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    in_rows = (rows >= top) & (rows < top + heights)
    in_columns = (columns >= left) & (columns < left + widths)
    return images.masked_fill_((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)
