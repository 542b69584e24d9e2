"""Average precision of a detector on a set of photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data.config import Split
from spikesight.data.detection import AnyObjectPreprocessing, FittedObjects
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.deployment.network import Deployed
from spikesight.inference import DetectionConfig
from spikesight.metrics.average_precision import AveragePrecision, DetectionQuality
from spikesight.training.runs.card import Card
from spikesight.training.runs.processes import joined
from spikesight.training.tasks.detection.finder import Finder
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings
from spikesight.training.tasks.measuring import show_all

if TYPE_CHECKING:
    from spikesight.training.tasks.detection.task import ObjectTask

Photos = Iterable[tuple[Tensor, tuple[FittedObjects, ...]]]


@dataclass(frozen=True)
class DetectionFigures(Figures):
    """What a detector does on a set of photos, in percent.

    Attributes:
        ap: Average precision of COCO: the mean over the classes that occur and over overlaps of
            0.5, 0.55, ... 0.95 that a box needs.
        ap50: Where an overlap of 0.5 suffices.
        ap75: Where 0.75 is needed. All three are 0 where there is nothing to find.
        class_ap50: At 0.5 by class; None for a class that does not occur.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("ap", "ap50", "ap75")
    ap: float
    ap50: float
    ap75: float
    class_ap50: dict[str, float | None]
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()

    def better_than(self, other: DetectionFigures | None) -> bool:
        """Whether the average precision is higher, or equal at a higher one at 0.5."""
        return other is None or (self.ap, self.ap50) > (other.ap, other.ap50)

    def headline(self) -> str:
        """Average precision."""
        return f"AP {self.ap:.2f} %"

    def by_class(self) -> tuple[str, dict[str, float | None]]:
        """Average precision at an overlap of 0.5."""
        return "AP50 (%)", self.class_ap50

    def summary(self) -> str:
        """Average precisions and firing."""
        return f"{self.headline()}  AP50 {self.ap50:.2f} %  AP75 {self.ap75:.2f} %{self.firing()}"


@torch.no_grad()
def evaluate_detections(
    model: nn.Module,
    batches: Photos,
    card: Card,
    accelerator: Accelerator,
    limit_batches: int | None = None,
    findings: Findings | None = None,
) -> DetectionFigures:
    """Average precision of boxes, as `Task.measure`; what was found travels between processes."""
    quality, images, rate, silent = collect(
        model, batches, card, accelerator, limit_batches, findings
    )
    boxes = quality.boxes
    return DetectionFigures(
        known(boxes.mean),
        known(boxes.at_50),
        known(boxes.at_75),
        named(card.preprocessing, boxes.per_class_at_50),
        images,
        rate,
        silent,
    )


def collect(
    model: nn.Module,
    batches: Photos,
    card: Card,
    accelerator: Accelerator,
    limit_batches: int | None,
    findings: Findings | None = None,
) -> tuple[DetectionQuality, int, float | None, tuple[str, ...]]:
    """Quality over all processes, number of images, firing rate and names of silent neurons."""
    finder = finder_of(model, card, accelerator.device)
    precision = AveragePrecision(len(finder.names), _task(card).masks, finder.config.most)

    def show(batch: tuple[Tensor, tuple[FittedObjects, ...]]) -> Iterator[int]:
        images, pairs = batch
        found = finder(images, [fit for _, fit in pairs])
        for image, one, (there, fit) in zip(images, found, pairs, strict=True):
            precision.update(one, there)
            if findings is not None:
                findings.tell(image, fit, there, one)
        yield len(images)

    count, rate, silent = show_all(model, batches, accelerator, limit_batches, show)
    precision.images = joined(accelerator, precision.images)
    return precision.compute(), count, rate, silent


def finder_of(model: nn.Module, card: Card, device: torch.device) -> Finder:
    """A model with what its card says."""
    config = card.view or DetectionConfig()
    return Finder(model, card.preprocessing, config, _task(card).find, device)


@torch.inference_mode()
def compare_precisions(
    card: Card, split: Split, networks: Mapping[str, Callable[[Tensor], Any]]
) -> str:
    """Average precision of several forms of a model, in one line, as `Task.compare`."""
    task, device = _task(card), torch.device("cpu")
    finders = {name: finder_of(_as_model(form), card, device) for name, form in networks.items()}
    classes = len(card.preprocessing.classes)
    precisions = {
        name: AveragePrecision(classes, task.masks, finder.config.most)
        for name, finder in finders.items()
    }
    seen = 0
    for images, pairs in task.evaluation_batches(card, task.batch_size, split):
        seen += len(images)
        for name, finder in finders.items():
            found = finder(images, [fit for _, fit in pairs])
            for one, (there, _) in zip(found, pairs, strict=True):
                precisions[name].update(one, there)
    shown = []
    for name, precision in precisions.items():
        boxes = precision.compute().boxes
        shown.append(f"{name} {known(boxes.mean):.2f} % (AP50 {known(boxes.at_50):.2f} %)")
    return f"AP on {seen:,} {split} images: {', '.join(shown)}"


def known(value: float) -> float:
    """A figure, or 0 where there is nothing to find."""
    return 0.0 if math.isnan(value) else value


def named(steps: AnyObjectPreprocessing, values: Sequence[float]) -> dict[str, float | None]:
    """Values by the names of the classes; None for one that does not occur."""
    rounded = [None if math.isnan(value) else round(value, 4) for value in values]
    return dict(zip(steps.classes, rounded, strict=True))


def _task(card: Card) -> type[ObjectTask]:
    return cast("type[ObjectTask]", card.kind)


def _as_model(form: Callable[[Tensor], Any]) -> nn.Module:
    if isinstance(form, Deployed):
        return DeployedModel(form)
    assert isinstance(form, nn.Module)
    return form
