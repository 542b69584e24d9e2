"""What happens to an image between its file and the model, outside training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.photos.augmentation import EvaluationTransform
from spikesight.data.photos.decoding import IMAGE_SUFFIXES, decode, read_image_file
from spikesight.data.photos.normalisation import check_normalisation
from spikesight.files.documents import check
from spikesight.files.ranges import Positive, PositiveShare, Side

_THINNEST = 16


@dataclass(frozen=True)
class Preprocessing:
    """The evaluation transform, kept beside a trained model so that it sees images as in training.

    Attributes:
        image_size: Height and width of the images that the model sees, in pixels.
        channels: 1 (grey) or 3 (colour).
        mean: Mean per channel of images in 0..1.
        std: Standard deviation per channel of images in 0..1.
        crop_fraction: Share of the shorter side that the central crop keeps.
        classes: Names of the classes, in the order of the logits.
    """

    image_size: Side
    channels: int
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    crop_fraction: PositiveShare = 1.0
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_normalisation("", self.mean, self.std)
        if self.channels not in (1, 3):
            raise DataError(
                f"preprocessing.channels is {self.channels}; pass 1 (grey) or 3 (colour)"
            )
        for name in ("mean", "std"):
            count = len(getattr(self, name))
            if count != self.channels:
                raise DataError(
                    f"preprocessing.{name} has {count} values but preprocessing.channels is "
                    f"{self.channels}; pass one value per channel"
                )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Rebuilds a preprocessing from `to_dict`'s plain values."""
        return check(values, cls, "preprocessing", error=DataError)

    @property
    def batch_transform(self) -> EvaluationTransform:
        """The last step, on batches: uint8 `[B, C, H, W]` to normalised float32."""
        return EvaluationTransform(self.mean, self.std)

    def read(self, encoded: bytes, name: str) -> Tensor:
        """Decodes one image file and fits it to the model.

        Args:
            encoded: Content of the file.
            name: What error messages call it.

        Returns:
            uint8 `[C, image_size, image_size]`.

        Raises:
            CorruptImageError: It cannot be decoded.
            DataError: Its kind of pixels cannot be converted safely.
        """
        return to_tensor(fit(decode(encoded, name, self.channels), *self.fitting))

    def read_file(self, path: str | Path) -> Tensor:
        """Reads one image file; see `read`."""
        return self.read(read_image_file(path), str(path))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an image as the model sees it."""
        return (self.channels, self.image_size, self.image_size)

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of the files that `read_file` takes."""
        return IMAGE_SUFFIXES

    @property
    def fitting(self) -> tuple[int, float]:
        """The arguments of `fit`: the image size and the crop fraction."""
        return self.image_size, self.crop_fraction


def fit(image: Any, image_size: int, crop_fraction: float = 1.0) -> Any:
    """Resizes the shorter side (bicubic, antialiased) and crops the centre.

    Args:
        image: A PIL image, or a uint8 tensor `[..., H, W]`.
        image_size: Height and width of the result, in pixels.
        crop_fraction: The shorter side becomes `image_size / crop_fraction` before the crop.

    Returns:
        The same type, `image_size` pixels high and wide.
    """
    from torchvision.transforms.functional import (
        InterpolationMode,
        center_crop,
        get_dimensions,
        resize,
    )

    shorter = round(image_size / crop_fraction)
    image = cut_thin(image)
    if get_dimensions(image)[1:] != [shorter, shorter]:
        image = resize(image, [shorter], interpolation=InterpolationMode.BICUBIC)
    if get_dimensions(image)[1:] != [image_size, image_size]:
        image = center_crop(image, [image_size, image_size])
    return image


def cut_thin(image: Any) -> Any:
    """The middle of an image that is longer than 16 times its width or height; others whole.

    Enlarged first, as usual, a rule of 3,000 x 1 pixels would take gigabytes, of which the
    central crop keeps nothing but the middle.

    Args:
        image: A PIL image, or a tensor `[..., H, W]`.

    Returns:
        The same type; exactly centred.
    """
    from torchvision.transforms.functional import center_crop, get_dimensions

    _, height, width = get_dimensions(image)
    most = _THINNEST * min(height, width)
    # Both ends lose the same number of pixels.
    sides = [side if side <= most else most + (side - most) % 2 for side in (height, width)]
    return image if sides == [height, width] else center_crop(image, sides)


def to_tensor(image: Image.Image) -> Tensor:
    """Turns a grey or colour PIL image into uint8 `[C, H, W]`."""
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
