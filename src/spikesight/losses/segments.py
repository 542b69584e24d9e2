"""The ground truth of one image, as segments."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.errors import UserError


@dataclass(frozen=True)
class Segments:
    """The segments of one image: a class and a mask each.

    In semantic segmentation a segment is everything of one class, in panoptic segmentation one
    thing or all stuff of one class. Pixels of no segment are void.

    Attributes:
        labels: [N], int64, classes 0..K - 1.
        masks: [N, H, W], bool.

    Raises:
        UserError: If the numbers of labels and masks differ, or a dtype is another.
    """

    labels: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.masks.ndim != 3 or len(self.labels) != len(self.masks):
            raise UserError(
                "Segments takes labels [N] and masks [N, H, W], not "
                f"{tuple(self.labels.shape)} and {tuple(self.masks.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.masks.dtype != torch.bool:
            raise UserError(
                f"Segments takes int64 labels and bool masks, not {self.labels.dtype} and "
                f"{self.masks.dtype}; convert with labels.long() and masks.bool()"
            )

    @staticmethod
    def from_label_map(label_map: Tensor, num_classes: int) -> Segments:
        """Segments of a semantic label map.

        Args:
            label_map: [H, W], classes 0..K - 1; every other number is void.
            num_classes: Classes K.
        """
        present = [int(c) for c in label_map.unique() if 0 <= int(c) < num_classes]
        labels = torch.tensor(present, dtype=torch.int64, device=label_map.device)
        return Segments(labels, label_map[None] == labels.view(-1, 1, 1))

    def check_below(self, num_classes: int) -> None:
        """Raises UserError where a label is none of 0..K - 1."""
        if len(self.labels) and not (
            0 <= int(self.labels.min()) <= int(self.labels.max()) < num_classes
        ):
            raise UserError(
                f"the segments have labels of {int(self.labels.min())} to "
                f"{int(self.labels.max())} and there are {num_classes} classes; number classes "
                "from 0 and leave out what is void"
            )

    def to(self, device: torch.device | str) -> Segments:
        """The same segments on a device."""
        return Segments(self.labels.to(device), self.masks.to(device))
