"""The loss of a classifier."""

from __future__ import annotations

from torch import nn

from spikesight.options import check_range


def build_classification_loss(label_smoothing: float, soft_targets: bool) -> nn.Module:
    """Cross entropy that fits the targets.

    Args:
        label_smoothing: Share of the target spread evenly over all classes, in [0, 1). With soft
            targets the smoothing is already in them (mixup puts it there).
        soft_targets: Whether targets are probabilities [B, K] instead of class numbers [B].

    Returns:
        A module that takes logits [B, K] and targets, and returns the mean over the batch.
    """
    from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

    check_range("label_smoothing", label_smoothing, least=0, below=1)
    if soft_targets:
        return SoftTargetCrossEntropy()
    if label_smoothing > 0:
        return LabelSmoothingCrossEntropy(label_smoothing)
    return nn.CrossEntropyLoss()
