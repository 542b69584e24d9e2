"""What detectors return before host code makes boxes of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class DenseDetection:
    """Maps of a dense one-stage detector, one of each kind for every level, finest first.

    `spikesight.inference.decode_detections`, host code, makes boxes of them. The stride of a level
    is the height of the input over that of its map.

    Attributes:
        centres: [B, 1, h_i, w_i], logits of how well a box predicted at a pixel fits.
        distances: [B, 4, h_i, w_i], whose softplus is the distance from the middle of a pixel to
            the left, top, right and bottom edge of the box, in strides of the level.
        classes: [B, K, h_i, w_i], logits, each class for itself.
    """

    centres: tuple[Tensor, ...]
    distances: tuple[Tensor, ...]
    classes: tuple[Tensor, ...]

    def candidates(self, size: tuple[int, int]) -> Candidates:
        """The boxes of all pixels of all levels, in float32 or more.

        Args:
            size: Height and width of the input in pixels.
        """
        height, width = size
        kind = torch.promote_types(self.distances[0].dtype, torch.float32)
        like = self.distances[0].new_empty(0, dtype=kind)
        places, strides = [], []
        for distances in self.distances:
            rows, columns = distances.shape[-2:]
            step = like.new_tensor((width / columns, height / rows))
            y, x = torch.meshgrid(
                torch.arange(rows, dtype=kind, device=like.device),
                torch.arange(columns, dtype=kind, device=like.device),
                indexing="ij",
            )
            places.append((torch.stack((x, y), -1).flatten(0, 1) + 0.5) * step)
            strides.append(step.expand(rows * columns, 2))
        place, stride = torch.cat(places), torch.cat(strides)
        reach = F.softplus(_flat(self.distances).to(kind)) * stride.repeat(1, 2)
        boxes = torch.cat((place - reach[..., :2], place + reach[..., 2:]), -1)
        centres = _flat(self.centres).squeeze(-1).to(kind)
        return Candidates(boxes, centres, _flat(self.classes).to(kind), place, stride)


@dataclass(frozen=True)
class Candidates:
    """A box for every pixel of a dense detector's maps: N of an image, levels one after the other.

    Attributes:
        boxes: [B, N, 4], left, top, right and bottom edge in pixels of the input.
        centres: [B, N], logits of how well a box fits.
        classes: [B, N, K], logits.
        places: [N, 2], the middle (x, y) of each pixel.
        strides: [N, 2], its width and height.
    """

    boxes: Tensor
    centres: Tensor
    classes: Tensor
    places: Tensor
    strides: Tensor


def _flat(maps: tuple[Tensor, ...]) -> Tensor:
    """[B, N, C] of maps [B, C, h_i, w_i]."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
