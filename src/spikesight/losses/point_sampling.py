"""Comparing masks at sampled points, most of them where the prediction is uncertain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OVERSAMPLING = 3
IMPORTANT_SHARE = 0.75
"""Candidates per point, and the share of points taken from the least certain (Mask2Former)."""


def sample_points(masks: Tensor, places: Tensor) -> Tensor:
    """Values of masks between pixels, bilinear.

    Args:
        masks: [M, H, W].
        places: [M, P, 2] or [1, P, 2], x before y, in [0, 1].

    Returns:
        [M, P].
    """
    places = places.expand(len(masks), -1, -1).to(masks.dtype)
    grid = 2 * places.unsqueeze(1) - 1
    return F.grid_sample(masks.unsqueeze(1), grid, align_corners=False).flatten(1)


@torch.no_grad()
def uncertain_points(logits: Tensor, count: int) -> Tensor:
    """Points [M, count, 2] in [0, 1], mostly where logits [M, H, W] are nearest to 0."""
    candidates = _places(logits, OVERSAMPLING * count)
    uncertainty = -sample_points(logits, candidates).abs()
    important = int(IMPORTANT_SHARE * count)
    chosen = uncertainty.topk(important, dim=1, sorted=False).indices
    hard = candidates.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 2))
    return torch.cat((hard, _places(logits, count - important)), 1)


def _places(like: Tensor, count: int) -> Tensor:
    return torch.rand(len(like), count, 2, device=like.device, dtype=like.dtype)
