"""Augmentation that works image by image, before the batch: crops of large images, RandAugment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.photos.preprocessing import fit
from spikesight.data.sampling import derive_seed


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Runs a block with all of Python's, NumPy's and PyTorch's CPU randomness from one seed.

    The state from before comes back afterwards. timm's and torchvision's augmentations draw from
    these global sources, and take no generator.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    # timm asks for 0 bits at the strongest magnitudes, which Pillow refuses since version 13.
    return ImageOps.posterize(image, max(bits, 1))


@dataclass(eq=False)
class ImageAugmentation:
    """Augments one PIL image, as a pure function of seed, epoch and the image's number.

    Attributes:
        image_size: Height and width of the result, in pixels.
        mean: Mean per channel of images in 0..1; RandAugment fills uncovered corners with it.
        seed: Seed of all draws.
        rand_augment: timm's policy, or None.
        random_resized_crop: Smallest share of the area to keep, or None to fit the whole image.
        crop_fraction: Used to fit the whole image; see `fit`.

    Raises:
        DataError: The policy is not one of timm's.
    """

    image_size: int
    mean: tuple[float, ...]
    seed: int
    rand_augment: str | None = None
    random_resized_crop: float | None = None
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        _ = self._policy

    @cached_property
    def _policy(self) -> Any:
        if self.rand_augment is None:
            return None
        from timm.data.auto_augment import rand_augment_transform

        fill = tuple(round(255 * mean) for mean in self.mean)
        hyperparameters = {
            "translate_const": int(self.image_size * 0.45),
            "img_mean": fill if len(fill) == 3 else fill[0],
        }
        try:
            policy = rand_augment_transform(self.rand_augment, hyperparameters)
        except (AssertionError, KeyError, ValueError) as error:
            raise DataError(
                f"data.rand_augment {self.rand_augment!r} is no policy of timm's; pass one such as "
                "rand-m9-mstd0.5-inc1"
            ) from error
        for operation in policy.ops:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize
        return policy

    @cached_property
    def _crop(self) -> Any:
        if self.random_resized_crop is None:
            return None
        from torchvision.transforms.functional import InterpolationMode
        from torchvision.transforms.transforms import RandomResizedCrop

        return RandomResizedCrop(
            self.image_size,
            scale=(self.random_resized_crop, 1.0),
            interpolation=InterpolationMode.BICUBIC,
        )

    def __call__(self, image: Image.Image, epoch: int, index: int) -> Image.Image:
        """Augments one image.

        Args:
            image: Of mode L or RGB.
            epoch: Number of the epoch.
            index: Number of the image in the data set.

        Returns:
            An image of the same mode, `image_size` pixels high and wide.
        """
        with seeded(derive_seed(self.seed, epoch, index)):
            if self._crop is not None:
                image = self._crop(image)
            else:
                image = fit(image, self.image_size, self.crop_fraction)
            return image if self._policy is None else self._policy(image)

    def of_tensor(self, image: Tensor, epoch: int, index: int) -> Image.Image:
        """The same for a uint8 tensor `[C, H, W]`."""
        array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
        return self(Image.fromarray(array), epoch, index)
