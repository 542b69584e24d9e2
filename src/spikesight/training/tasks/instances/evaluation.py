"""Average precision of boxes and masks on a set of photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from spikesight.training.runs.card import Card
from spikesight.training.tasks.detection.evaluation import collect, known, named
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings


@dataclass(frozen=True)
class InstanceFigures(Figures):
    """What a detector of instances does on a set of photos, in percent.

    Attributes:
        mask_ap: Average precision of COCO by the overlap of masks.
        mask_ap50: Where an overlap of 0.5 suffices.
        box_ap: Average precision by the overlap of boxes.
        box_ap50: Where an overlap of 0.5 suffices. All four are 0 where there is nothing to find.
        class_mask_ap50: By class; None for a class that does not occur.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("mask_ap", "mask_ap50", "box_ap", "box_ap50")
    mask_ap: float
    mask_ap50: float
    box_ap: float
    box_ap50: float
    class_mask_ap50: dict[str, float | None]
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()

    def better_than(self, other: InstanceFigures | None) -> bool:
        """Whether masks are found better, or as well and boxes better."""
        return other is None or (self.mask_ap, self.box_ap) > (other.mask_ap, other.box_ap)

    def headline(self) -> str:
        """Average precision of masks."""
        return f"mask AP {self.mask_ap:.2f} %"

    def by_class(self) -> tuple[str, dict[str, float | None]]:
        """Average precision of masks at an overlap of 0.5."""
        return "mask AP50 (%)", self.class_mask_ap50

    def summary(self) -> str:
        """Average precisions and firing."""
        masks = f"{self.headline()}  AP50 {self.mask_ap50:.2f} %"
        boxes = f"box AP {self.box_ap:.2f} %  AP50 {self.box_ap50:.2f} %"
        return f"{masks}  {boxes}{self.firing()}"


@torch.no_grad()
def evaluate_instances(
    model: nn.Module,
    batches: Iterable[Any],
    card: Card,
    accelerator: Accelerator,
    limit_batches: int | None = None,
    findings: Findings | None = None,
) -> InstanceFigures:
    """Average precision of masks and boxes, as `Task.measure`."""
    quality, images, rate, silent = collect(
        model, batches, card, accelerator, limit_batches, findings
    )
    boxes, masks = quality.boxes, quality.masks
    assert masks is not None
    return InstanceFigures(
        known(masks.mean),
        known(masks.at_50),
        known(boxes.mean),
        known(boxes.at_50),
        named(card.preprocessing, masks.per_class_at_50),
        images,
        rate,
        silent,
    )
