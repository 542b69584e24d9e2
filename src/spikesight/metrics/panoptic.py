"""Panoptic quality (arXiv 1801.00868)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.errors import UserError

_MATCH = 0.5


@dataclass(frozen=True)
class Quality:
    """Panoptic quality of a group of classes, in percent.

    Attributes:
        panoptic: PQ, the mean over the classes of segmentation times recognition quality.
        segmentation: SQ, mean IoU of matched segments.
        recognition: RQ, the F1 score of finding segments.
        classes: Number of classes that occur.
    """

    panoptic: float
    segmentation: float
    recognition: float
    classes: int


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality of all, thing and stuff classes."""

    all: Quality
    things: Quality
    stuff: Quality


class PanopticCounts:
    """Counts matched, missed and invented segments; counts of parts of a data set add up.

    Attributes:
        counts: float64 [K, 4]: matched segments, invented, missed, and the sum of the IoUs of the
            matched ones.

    Args:
        classes: Classes K.
        things: Numbers of the thing classes.
    """

    def __init__(self, classes: int, things: Sequence[int]) -> None:
        self.counts = torch.zeros(classes, 4, dtype=torch.float64)
        self._things = torch.zeros(classes, dtype=torch.bool)
        self._things[list(things)] = True

    def update(
        self,
        predicted_map: Tensor,
        predicted_classes: Tensor,
        true_map: Tensor,
        true_classes: Tensor,
        crowd: Tensor | None = None,
    ) -> None:
        """Adds a photo, by the rules of COCO's panoptic evaluation.

        A predicted and a true segment of the same class match where their IoU, void pixels left
        out, is above a half. A predicted segment of which more than half lies on void or on a
        crowd of its class does not count as invented; crowds are never missed.

        Args:
            predicted_map: Number of each pixel's predicted segment [H, W]; -1 is none.
            predicted_classes: Their classes, int64 [P].
            true_map: Number of each pixel's true segment [H, W]; -1 is void.
            true_classes: Their classes, int64 [N].
            crowd: Which true segments are crowds, bool [N].
        """
        if predicted_map.shape != true_map.shape:
            raise UserError(
                f"predicted_map has shape {tuple(predicted_map.shape)} and true_map "
                f"{tuple(true_map.shape)}; pass one segment for every pixel of both"
            )
        count_p, count_t = len(predicted_classes), len(true_classes)
        _check_segments("predicted", predicted_map, predicted_classes, len(self.counts))
        _check_segments("true", true_map, true_classes, len(self.counts))
        crowd = torch.zeros(count_t, dtype=torch.bool) if crowd is None else crowd.cpu()
        predicted_classes, true_classes = predicted_classes.cpu(), true_classes.cpu()
        pairs = (predicted_map.long().cpu() + 1) * (count_t + 1) + true_map.long().cpu() + 1
        overlap = pairs.flatten().bincount(minlength=(count_p + 1) * (count_t + 1))
        overlap = overlap.view(count_p + 1, count_t + 1).double()
        inner = overlap[1:, 1:]
        predicted_area, true_area, on_void = (
            overlap[1:].sum(1),
            overlap[:, 1:].sum(0),
            overlap[1:, 0],
        )
        union = predicted_area[:, None] + true_area[None] - inner - on_void[:, None]
        iou = inner / union.clamp_min(1)
        same = predicted_classes[:, None] == true_classes[None]
        matched = (iou > _MATCH) & same & ~crowd[None]

        rows, columns = matched.nonzero(as_tuple=True)
        found = predicted_classes[rows]
        self._add(0, found, torch.ones(len(rows), dtype=torch.float64))
        self._add(3, found, iou[rows, columns])
        ignored = on_void + (inner * (same & crowd[None])).sum(1)
        present = predicted_area > 0
        invented = present & ~matched.any(1) & (ignored <= _MATCH * predicted_area)
        self._add(1, predicted_classes[invented])
        missed = (true_area > 0) & ~matched.any(0) & ~crowd
        self._add(2, true_classes[missed])

    def _add(self, column: int, classes: Tensor, values: Tensor | None = None) -> None:
        values = torch.ones(len(classes), dtype=torch.float64) if values is None else values
        self.counts[:, column].index_add_(0, classes, values)

    def per_class(self) -> Tensor:
        """PQ, SQ and RQ per class in percent, float64 [K, 3]; NaN where a class is absent."""
        matched, invented, missed, iou = self.counts.unbind(1)
        size = matched + invented / 2 + missed / 2
        nothing = size == 0
        recognition = torch.where(nothing, torch.nan, matched / size)
        segmentation = torch.where(nothing, torch.nan, iou / matched.clamp_min(1))
        return 100 * torch.stack([segmentation * recognition, segmentation, recognition], 1)

    def quality(self) -> PanopticQuality:
        """Means over the classes that occur."""
        scores = self.per_class()
        every = torch.ones_like(self._things)
        groups = [_mean(scores[group]) for group in (every, self._things, ~self._things)]
        return PanopticQuality(*groups)


def _check_segments(which: str, segment_map: Tensor, labels: Tensor, classes: int) -> None:
    for name, values, least, most in (
        (f"{which}_map", segment_map, -1, len(labels) - 1),
        (f"{which}_classes", labels, 0, classes - 1),
    ):
        if values.is_floating_point():
            raise UserError(f"{name} is {values.dtype}; pass whole numbers")
        if values.numel() and not least <= int(values.min()) <= int(values.max()) <= most:
            raise UserError(
                f"{name} holds {int(values.min())} to {int(values.max())}; pass numbers of "
                f"{least} to {most}"
            )


def _mean(scores: Tensor) -> Quality:
    scores = scores[~scores[:, 0].isnan()]
    if not len(scores):
        return Quality(0.0, 0.0, 0.0, 0)
    panoptic, segmentation, recognition = scores.mean(0).tolist()
    return Quality(panoptic, segmentation, recognition, len(scores))
