"""One-to-one matching of queries and segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.errors import UserError

MaskLoss = Literal["focal", "cross_entropy"]
Assignment = Literal["hungarian", "fixed"]

ALPHA = 0.25
GAMMA = 2.0
SMOOTH = 1.0
"""Of the focal loss, and the dice loss's addend (MaskFormer)."""
_LEAST = 1e-12


@dataclass(frozen=True)
class MatchingCosts:
    """Weights of what a pair of query and segment costs.

    Attributes:
        classes: Of the segment's class probability.
        masks: Of the masks' focal loss or cross-entropy.
        dice: Of the masks' dice loss.
        mask_loss: Which of the two `masks` weighs.
    """

    classes: float = 1.0
    masks: float = 20.0
    dice: float = 1.0
    mask_loss: MaskLoss = "focal"


@torch.no_grad()
def match(
    class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor, costs: MatchingCosts
) -> tuple[Tensor, Tensor]:
    """Finds the cheapest assignment of one image's segments to queries (Hungarian method).

    Args:
        class_logits: [Q, K + 1].
        mask_logits: [Q, P], at P pixels or points.
        labels: Classes of the segments [N], int64.
        masks: Of the segments at the same pixels [N, P], 0 to 1.
        costs: Weights.

    Returns:
        Queries and the segments that they are matched with, both [min(Q, N)], int64.

    Raises:
        UserError: If a logit is not finite.
    """
    from scipy.optimize import linear_sum_assignment

    probability = class_logits.softmax(-1)[:, labels]
    cost = (
        -costs.classes * probability
        + costs.masks * _mask_cost(mask_logits, masks, costs.mask_loss)
        + costs.dice * dice_costs(mask_logits.sigmoid(), masks)
    )
    if not bool(cost.isfinite().all()):
        raise UserError(
            "the logits are not finite, so queries cannot be matched with segments; lower the "
            "learning rate or clip gradients"
        )
    queries, segments = linear_sum_assignment(cost.double().cpu().numpy())
    return (
        torch.as_tensor(queries, device=labels.device),
        torch.as_tensor(segments, device=labels.device),
    )


def assign_by_class(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Gives the segment of class k to query k.

    Args:
        labels: Classes of the segments [N], int64, no two alike.

    Returns:
        Queries and the segments that they are paired with, both [N], int64.

    Raises:
        UserError: If two segments have one class.
    """
    if len(labels.unique()) < len(labels):
        raise UserError(
            "segmentation.loss.assignment is fixed, which gives every class one query, but a scene "
            "has several segments of one class; pass assignment=hungarian"
        )
    return labels, torch.arange(len(labels), device=labels.device)


def _mask_cost(logits: Tensor, masks: Tensor, kind: MaskLoss) -> Tensor:
    """Mean loss per pixel of every pair [Q, N]."""
    if kind == "focal":
        probability = logits.sigmoid()
        inside = -(probability + _LEAST).log() * ALPHA * (1 - probability) ** GAMMA
        outside = -(1 - probability + _LEAST).log() * (1 - ALPHA) * probability**GAMMA
    else:
        inside, outside = F.softplus(-logits), F.softplus(logits)
    return (inside @ masks.t() + outside @ (1 - masks).t()) / logits.shape[1]


def dice_costs(probability: Tensor, masks: Tensor) -> Tensor:
    """Dice loss of every pair [Q, N] of probabilities [Q, P] and masks [N, P]."""
    overlap = 2 * probability @ masks.t() + SMOOTH
    return 1 - overlap / (probability.sum(-1)[:, None] + masks.sum(-1) + SMOOTH)
