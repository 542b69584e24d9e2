"""Panoptic fusion of classified masks (MaskFormer, arXiv 2107.06278, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.data.segmentation.scene import VOID, Truth
from spikesight.inference.config import PanopticRules as PanopticRules
from spikesight.inference.semantic import highest


def fuse(
    class_logits: Tensor, masks: Tensor, things: tuple[int, ...], rules: PanopticRules
) -> Truth:
    """Gives every pixel to at most one segment; see `fuse_scored`."""
    return fuse_scored(class_logits, masks, things, rules)[0]


def fuse_scored(
    class_logits: Tensor, masks: Tensor, things: tuple[int, ...], rules: PanopticRules
) -> tuple[Truth, list[float]]:
    """Gives every pixel to at most one segment, and every segment a score.

    A pixel goes to the query whose class probability times mask probability is highest. A segment
    has the pixels that its query won with a mask above a half; a query that won less than `overlap`
    of its mask's pixels has none. Stuff of one class is one segment.

    Args:
        class_logits: [Q, K + 1]; the last class is "no object".
        masks: Mask logits at the photo's size [Q, H, W].
        things: Numbers of the thing classes.
        rules: Thresholds.

    Returns:
        The segments, -1 where there is none; and of each the class probability of its first query.
    """
    probabilities, classes = class_logits.float().softmax(-1).max(-1)
    kept = (classes != class_logits.shape[-1] - 1) & (probabilities > rules.object_score)
    segment_map = torch.full(masks.shape[1:], VOID, dtype=torch.int32)
    labels: list[int] = []
    scores: list[float] = []
    if kept.any():
        shares = masks[kept].float().sigmoid()
        winner = highest(probabilities[kept].view(-1, 1, 1) * shares)
        stuff: dict[int, int] = {}
        for query, label in enumerate(classes[kept].tolist()):
            solid = shares[query] >= 0.5
            won = winner == query
            taken = won & solid
            if not taken.any() or int(won.sum()) < rules.overlap * int(solid.sum()):
                continue
            if label in things or label not in stuff:
                stuff[label] = len(labels)
                number = len(labels)
                labels.append(label)
                scores.append(float(probabilities[kept][query]))
            else:
                number = stuff[label]
            segment_map[taken.cpu()] = number
    count = len(labels)
    truth = Truth(
        segment_map,
        torch.tensor(labels, dtype=torch.int64),
        torch.zeros(count, dtype=torch.bool),
    )
    return truth, scores
