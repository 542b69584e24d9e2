"""Intersection over union and pixel accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.errors import UserError


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

        Raises:
            UserError: If the shapes differ, or a prediction or the type is none of a class.
        """
        classes = len(self.counts)
        if predicted.shape != truth.shape:
            raise UserError(
                f"predicted has shape {tuple(predicted.shape)} and truth {tuple(truth.shape)}; "
                "pass one class for every pixel of both"
            )
        if predicted.is_floating_point() or truth.is_floating_point():
            raise UserError(
                f"predicted is {predicted.dtype} and truth {truth.dtype}; pass class numbers, "
                "such as scores.argmax(0)"
            )
        if predicted.numel() and not 0 <= int(predicted.min()) <= int(predicted.max()) < classes:
            raise UserError(
                f"predicted holds {int(predicted.min())} to {int(predicted.max())}; pass classes "
                f"of 0 to {classes - 1}"
            )
        known = (truth >= 0) & (truth < classes)
        pairs = truth[known].long() * classes + predicted[known].long()
        self.counts += pairs.cpu().bincount(minlength=classes**2).view(classes, classes)

    def intersection_over_union(self) -> Tensor:
        """Per class, in percent, float64 [K]; NaN for a class in neither truth nor prediction."""
        hits = self.counts.diagonal().double()
        union = self.counts.sum(0) + self.counts.sum(1) - self.counts.diagonal()
        return 100 * hits / union

    def mean_intersection_over_union(self) -> float:
        """Mean over the classes in truth or prediction, in percent; 0 if there is no known pixel.

        As the field does it: a class that is predicted but never true counts with 0, one in
        neither is left out.
        """
        scores = self.intersection_over_union()
        return float(scores.nanmean()) if not scores.isnan().all() else 0.0

    def pixel_accuracy(self) -> float:
        """Share of the known pixels that are right, in percent; 0 if there are none."""
        total = int(self.counts.sum())
        return 100 * int(self.counts.diagonal().sum()) / total if total else 0.0
