"""Intersection over union and pixel accuracy."""

from __future__ import annotations

import torch
from torch import Tensor


class ConfusionMatrix:
    """Counts pixels by true and predicted class; matrices of parts of a data set add up.

    Attributes:
        counts: int64 [K, K]; row: truth, column: prediction.

    Args:
        classes: Classes K.
    """

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)

    def update(self, predicted: Tensor, truth: Tensor) -> None:
        """Adds a photo.

        Args:
            predicted: Classes 0..K - 1, integers of any shape.
            truth: Classes of the same shape; pixels outside of 0..K - 1 are ignored.
        """
        assert predicted.shape == truth.shape
        classes = len(self.counts)
        assert predicted.numel() == 0 or int(predicted.max()) < classes
        known = (truth >= 0) & (truth < classes)
        pairs = truth[known].long() * classes + predicted[known].long()
        self.counts += pairs.cpu().bincount(minlength=classes**2).view(classes, classes)

    def intersection_over_union(self) -> Tensor:
        """Per class, in percent, float64 [K]; NaN for a class in neither truth nor prediction."""
        hits = self.counts.diagonal().double()
        union = self.counts.sum(0) + self.counts.sum(1) - self.counts.diagonal()
        return 100 * hits / union

    def mean_intersection_over_union(self) -> float:
        """Mean over the classes that occur, in percent; 0 if there is no known pixel."""
        scores = self.intersection_over_union()
        return float(scores.nanmean()) if not scores.isnan().all() else 0.0

    def pixel_accuracy(self) -> float:
        """Share of the known pixels that are right, in percent; 0 if there are none."""
        total = int(self.counts.sum())
        return 100 * int(self.counts.diagonal().sum()) / total if total else 0.0
