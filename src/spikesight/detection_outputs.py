"""What detectors return before host code makes boxes of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class DenseDetection:
    """Maps of a dense one-stage detector, one of each kind for every level, finest first.

    `spikesight.inference.decode_detections`, host code, makes boxes of them. The stride of a level
    is the height of the input over that of its map.

    Attributes:
        centres: [B, 1, h_i, w_i], logits of how well a box predicted at a pixel fits.
        distances: [B, 4, h_i, w_i], what the decoder turns into the distances from the middle of a
            pixel to the left, top, right and bottom edge of the box.
        classes: [B, K, h_i, w_i], logits, each class for itself.
    """

    centres: tuple[Tensor, ...]
    distances: tuple[Tensor, ...]
    classes: tuple[Tensor, ...]
