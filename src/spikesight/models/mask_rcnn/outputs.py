"""What a two-stage detector returns before masks are pasted into a photo."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RegionMaps:
    """What is computed of a whole image, before regions are cut out of it.

    Attributes:
        objectness: [B, A, h_i, w_i] per level, finest first: logits of the A anchors of a pixel.
        deltas: [B, 4 A, h_i, w_i] per level: what moves the anchors onto objects.
        levels: [B, C, h_i, w_i], the mean currents over time that regions are cut out of;
            objectness and deltas have one level more, the coarsest.
    """

    objectness: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
    levels: tuple[Tensor, ...]


@dataclass(frozen=True)
class RegionDetections:
    """What was found in one image, masks in the frames of their boxes.

    Attributes:
        boxes: [N, 4] left, top, right and bottom edge in pixels of the input.
        classes: [N] int64, 0..K - 1.
        scores: [N] in [0, 1], the highest first.
        masks: [N, M, M], the probability of the object in each cell of its box.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor
