"""What happens to a photo between its file and a segmenter, outside training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from spikesight.data.errors import DataError
from spikesight.data.photos.augmentation import EvaluationTransform
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.data.photos.normalisation import check_normalisation
from spikesight.data.photos.preprocessing import cut_thin
from spikesight.data.segmentation.files import read_photo
from spikesight.data.segmentation.scene import ClassTable
from spikesight.files.documents import check
from spikesight.files.ranges import Pixels, Positive, Side


@dataclass(frozen=True)
class ScenePreprocessing:
    """The evaluation transform, kept beside a trained segmenter, and what its classes are called.

    Attributes:
        mean: Mean per channel of photos in 0..1.
        std: Standard deviation per channel of photos in 0..1.
        crop_size: Height and width of the training crops: the size of a sliding window.
        evaluation_size: Limits of the shorter and the longer side; None keeps a photo's size.
        table: The classes.
    """

    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    crop_size: tuple[Side, Side]
    evaluation_size: tuple[Pixels, Pixels] | None
    table: ClassTable
    channels: Literal[3] = 3

    def __post_init__(self) -> None:
        check_normalisation("", self.mean, self.std)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.table.names

    @property
    def batch_transform(self) -> EvaluationTransform:
        """The last step, on batches: uint8 [B, 3, H, W] to normalised float32."""
        return EvaluationTransform(self.mean, self.std)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a training crop."""
        return (3, *self.crop_size)

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of the files that `read_file` takes."""
        return IMAGE_SUFFIXES

    def read_file(self, path: str | Path) -> Tensor:
        """Reads a photo at the size of the training crops, uint8 [3, *crop_size]."""
        return sample_crop(read_photo(Path(path)), self.crop_size)

    def fit(self, image: Tensor) -> Tensor:
        """Resizes a photo to the largest size within the limits, its shape kept.

        Args:
            image: uint8 [3, H, W].
        """
        if self.evaluation_size is None:
            return image
        short, long = sorted(self.evaluation_size)
        height, width = image.shape[1:]
        factor = min(short / min(height, width), long / max(height, width))
        size = [max(round(height * factor), 1), max(round(width * factor), 1)]
        if size == [height, width]:
            return image
        resized: Tensor = resize(image, size, antialias=True)
        return resized

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ScenePreprocessing:
        """Rebuilds a preprocessing from `to_dict`'s plain values."""
        return check(values, cls, "preprocessing", error=DataError)


def sample_crop(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The centre of a photo at a fixed size, resized to cover it; uint8 [3, *size].

    Args:
        image: uint8 [3, H, W].
        size: Height and width.
    """
    image = cut_thin(image)
    factor = max(size[0] / image.shape[1], size[1] / image.shape[2])
    covering = [max(s, round(n * factor)) for s, n in zip(size, image.shape[1:], strict=True)]
    resized: Tensor = resize(image, covering, antialias=True)
    top, left = ((n - s) // 2 for n, s in zip(covering, size, strict=True))
    return torch.narrow(torch.narrow(resized, 1, top, size[0]), 2, left, size[1]).contiguous()
