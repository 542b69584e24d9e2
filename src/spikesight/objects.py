"""Objects in an image: what is there, and what a model found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from spikesight.errors import UserError

FoundT = TypeVar("FoundT", "Objects", "Detections")


@dataclass(frozen=True)
class Objects:
    """What is there: the ground truth of one image.

    Attributes:
        boxes: [N, 4] float32: left, top, right and bottom edge in pixels, the left upper corner of
            the image being (0, 0) and its right lower one (width, height).
        classes: [N] int64, 0..K - 1.
        crowd: [N] bool: regions of many objects (COCO's iscrowd), from which nothing is learned
            and within which nothing that is found is wrong.
        masks: [N, H, W] bool, or None where only boxes are known.

    Raises:
        UserError: If shapes or dtypes are others.
    """

    boxes: Tensor
    classes: Tensor
    crowd: Tensor
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        _check(self, crowd=torch.bool)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, which: Tensor) -> Objects:
        """Some of them, by number or by a mask [N]."""
        return _taken(self, which)

    def to(self, device: torch.device | str) -> Objects:
        """The same on a device."""
        return _moved(self, device)

    @staticmethod
    def none(size: tuple[int, int] | None = None) -> Objects:
        """An image without objects; of a height and width if it has masks."""
        masks = None if size is None else torch.zeros(0, *size, dtype=torch.bool)
        return Objects(
            torch.zeros(0, 4),
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0, dtype=torch.bool),
            masks,
        )


@dataclass(frozen=True)
class Detections:
    """What a model found in one image.

    Attributes:
        boxes: [N, 4] float32, as of `Objects`.
        classes: [N] int64, 0..K - 1.
        scores: [N] float32 in [0, 1], the highest first.
        masks: [N, H, W] bool, or None of a model that finds boxes alone.

    Raises:
        UserError: If shapes or dtypes are others.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        _check(self, scores=torch.float32)

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, which: Tensor) -> Detections:
        """Some of them, by number or by a mask [N]."""
        return _taken(self, which)

    def to(self, device: torch.device | str) -> Detections:
        """The same on a device."""
        return _moved(self, device)


def _check(value: Any, **own: torch.dtype) -> None:
    kinds = {"boxes": torch.float32, "classes": torch.int64, **own}
    number = len(value.classes)
    for name, dtype in kinds.items():
        tensor = getattr(value, name)
        shape = (number, 4) if name == "boxes" else (number,)
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise UserError(
                f"{type(value).__name__}.{name} is {tensor.dtype} {tuple(tensor.shape)}; pass "
                f"{dtype} {shape}"
            )
    masks = value.masks
    if masks is not None and (masks.ndim != 3 or len(masks) != number or masks.dtype != torch.bool):
        raise UserError(
            f"{type(value).__name__}.masks is {masks.dtype} {tuple(masks.shape)}; pass torch.bool "
            f"({number}, height, width)"
        )


def _taken(value: FoundT, which: Tensor) -> FoundT:
    return _changed(value, lambda part: part[which])


def _moved(value: FoundT, device: torch.device | str) -> FoundT:
    return _changed(value, lambda part: part.to(device))


def _changed(value: FoundT, change: Callable[[Tensor], Tensor]) -> FoundT:
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    return replace(value, **{n: change(part) for n, part in parts.items() if part is not None})
