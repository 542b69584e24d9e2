"""What happens to a photo between its file and a detector, outside training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from spikesight.data.detection.annotated_images import cut_boxes
from spikesight.data.detection.mask_geometry import resized_masks
from spikesight.data.errors import DataError
from spikesight.data.photos.augmentation import EvaluationTransform
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.data.photos.normalisation import check_normalisation
from spikesight.data.segmentation.files import read_photo
from spikesight.data.segmentation.scene import ClassTable
from spikesight.files.documents import check
from spikesight.files.ranges import Positive, Side
from spikesight.objects import Detections


@dataclass(frozen=True)
class Fit:
    """Where in a model's image a photo lies: in the left upper corner, at this size.

    Attributes:
        photo: Height and width of the photo.
        shown: Height and width at which it is shown.
    """

    photo: tuple[int, int]
    shown: tuple[int, int]

    def restore(self, found: Detections) -> Detections:
        """What was found in a model's image, in pixels of the photo.

        Boxes are cut off at the photo's edges; those wholly in the border are left out.

        Args:
            found: In pixels of the model's image.
        """
        (height, width), (shown_height, shown_width) = self.photo, self.shown
        across, down = width / shown_width, height / shown_height
        factors = found.boxes.new_tensor([across, down, across, down])
        boxes = cut_boxes(found.boxes * factors, self.photo)
        masks = found.masks
        if masks is not None:
            masks = resized_masks(masks[:, :shown_height, :shown_width], self.photo)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return replace(found, boxes=boxes, masks=masks)[kept]


@dataclass(frozen=True)
class ObjectPreprocessing:
    """The evaluation transform, kept beside a trained detector, and what its classes are called.

    Attributes:
        mean: Mean per channel of photos in 0..1.
        std: Standard deviation per channel of photos in 0..1.
        image_size: Height and width of what the model sees.
        table: The classes.
    """

    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    image_size: tuple[Side, Side]
    table: ClassTable
    channels: Literal[3] = 3

    def __post_init__(self) -> None:
        check_normalisation("", self.mean, self.std)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.table.names

    @property
    def fill(self) -> tuple[int, int, int]:
        """The mean colour, 0..255."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue

    @property
    def batch_transform(self) -> EvaluationTransform:
        """The last step, on batches: uint8 [B, 3, H, W] to normalised float32."""
        return EvaluationTransform(self.mean, self.std)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an image as the model sees it."""
        return (3, *self.image_size)

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of the files that `read_file` takes."""
        return IMAGE_SUFFIXES

    def read(self, path: str | Path) -> Tensor:
        """Reads a photo, uint8 [3, H, W], before it is fitted."""
        return read_photo(Path(path))

    def read_file(self, path: str | Path) -> Tensor:
        """Reads a photo as the model sees it, uint8 [3, *image_size]."""
        return self.fit(self.read(path))[0]

    def picture(self, image: Tensor) -> Tensor:
        """What is drawn of an image before it is fitted: itself, uint8 [3, H, W]."""
        return image

    def fit(self, image: Tensor) -> tuple[Tensor, Fit]:
        """Makes a photo as large as it fits, its shape kept; the rest, right or below, is filled.

        Args:
            image: uint8 [3, H, W].

        Returns:
            uint8 [3, *image_size], and where the photo lies in it.
        """
        height, width = image.shape[1:]
        rows, columns = self.image_size
        shown = fitted_size((height, width), self.image_size)
        if shown != (height, width):
            image = resize(image, list(shown), antialias=True)
        if shown != self.image_size:
            colour = torch.tensor(self.fill, dtype=torch.uint8)[:, None, None]
            ground = colour.expand(3, rows, columns).clone()
            ground[:, : shown[0], : shown[1]] = image
            image = ground
        return image, Fit((height, width), shown)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ObjectPreprocessing:
        """Rebuilds a preprocessing from `to_dict`'s plain values."""
        return check(values, cls, "preprocessing", error=DataError)


def fitted_size(size: tuple[int, int], within: tuple[int, int]) -> tuple[int, int]:
    """The largest height and width of the same shape that fit.

    Args:
        size: Height and width.
        within: Height and width that there is room for.
    """
    factor = min(room / side for side, room in zip(size, within, strict=True))
    height, width = (
        min(max(round(side * factor), 1), room) for side, room in zip(size, within, strict=True)
    )
    return height, width
