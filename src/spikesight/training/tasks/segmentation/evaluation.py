"""Intersection over union and panoptic quality of a segmenter on a set of scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data.segmentation import ScenePreprocessing, Truth, Truths, semantic_truth
from spikesight.errors import UserError
from spikesight.inference import View, ViewConfig, class_map, panoptic_truths, photo_scores
from spikesight.metrics import ConfusionMatrix, PanopticCounts
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation
from spikesight.training.runs.card import Card
from spikesight.training.runs.processes import total
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings
from spikesight.training.tasks.measuring import show_all

Scenes = Iterable[tuple[tuple[Tensor, ...], Truths]]


@dataclass(frozen=True)
class SemanticFigures(Figures):
    """What a segmenter does on a set of scenes, in percent.

    Attributes:
        miou: Mean over the classes that occur of the intersection over union.
        pixel_accuracy: Share of the known pixels that are right.
        class_iou: Intersection over union by class; None for a class that does not occur.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("miou", "pixel_accuracy")
    miou: float
    pixel_accuracy: float
    class_iou: dict[str, float | None]
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()

    def better_than(self, other: SemanticFigures | None) -> bool:
        """Whether the mean IoU is higher, or equal at a higher pixel accuracy."""
        return other is None or (self.miou, self.pixel_accuracy) > (
            other.miou,
            other.pixel_accuracy,
        )

    def headline(self) -> str:
        """Mean IoU."""
        return f"mIoU {self.miou:.2f} %"

    def by_class(self) -> tuple[str, dict[str, float | None]]:
        """Intersection over union."""
        return "IoU (%)", self.class_iou

    def summary(self) -> str:
        """Mean IoU, pixel accuracy and firing."""
        return f"{self.headline()}  pixel accuracy {self.pixel_accuracy:.2f} %{self.firing()}"


@dataclass(frozen=True)
class PanopticFigures(Figures):
    """What a segmenter does on a set of scenes with objects, in percent.

    Attributes:
        pq: Panoptic quality of all classes; `pq_things` and `pq_stuff` of some.
        sq: Segmentation quality.
        rq: Recognition quality.
        class_pq: Panoptic quality by class; None for a class that does not occur.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = tuple(
        quality + kind for kind in ("", "_things", "_stuff") for quality in ("pq", "sq", "rq")
    )
    pq: float
    sq: float
    rq: float
    pq_things: float
    sq_things: float
    rq_things: float
    pq_stuff: float
    sq_stuff: float
    rq_stuff: float
    class_pq: dict[str, float | None]
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...] = ()

    def better_than(self, other: PanopticFigures | None) -> bool:
        """Whether the panoptic quality is higher, or equal at a higher segmentation quality."""
        return other is None or (self.pq, self.sq) > (other.pq, other.sq)

    def headline(self) -> str:
        """Panoptic quality."""
        return f"PQ {self.pq:.2f} %"

    def by_class(self) -> tuple[str, dict[str, float | None]]:
        """Panoptic quality."""
        return "PQ (%)", self.class_pq

    def summary(self) -> str:
        """All qualities and firing."""
        return (
            f"{self.headline()}  SQ {self.sq:.2f} %  RQ {self.rq:.2f} %  "
            f"things {self.pq_things:.2f} %  stuff {self.pq_stuff:.2f} %{self.firing()}"
        )


@torch.no_grad()
def evaluate_semantic(
    model: nn.Module,
    batches: Scenes,
    card: Card,
    accelerator: Accelerator,
    limit_batches: int | None = None,
    findings: Findings | None = None,
) -> SemanticFigures:
    """Mean IoU and pixel accuracy, as `Task.measure`; whole numbers travel between processes."""
    preprocessing: ScenePreprocessing = card.preprocessing
    matrix = ConfusionMatrix(len(preprocessing.table))

    def score(view: View, photos: Tensor, images: Tensor, truths: list[Truth]) -> None:
        scores = photo_scores(view, images)
        for photo, classes, truth in zip(photos, scores, truths, strict=True):
            size = (truth.segment_map.shape[0], truth.segment_map.shape[1])
            found = class_map(classes, size).cpu()
            matrix.update(found, truth.class_map())
            if findings is not None:
                findings.tell(photo, truth, semantic_truth(found.int(), len(matrix.counts)))

    images, rate, silent = _measure(model, batches, card, accelerator, score, limit_batches)
    matrix.counts = _summed(accelerator, matrix.counts).long()
    return SemanticFigures(
        matrix.mean_intersection_over_union(),
        matrix.pixel_accuracy(),
        _named(preprocessing, matrix.intersection_over_union()),
        images,
        rate,
        silent,
    )


@torch.no_grad()
def evaluate_panoptic(
    model: nn.Module,
    batches: Scenes,
    card: Card,
    accelerator: Accelerator,
    limit_batches: int | None = None,
    findings: Findings | None = None,
) -> PanopticFigures:
    """Panoptic quality of all, thing and stuff classes, as `Task.measure`; of one view."""
    preprocessing: ScenePreprocessing = card.preprocessing
    table = preprocessing.table
    counts = PanopticCounts(len(table), table.things)

    def score(view: View, photos: Tensor, images: Tensor, truths: list[Truth]) -> None:
        sizes = [(t.segment_map.shape[0], t.segment_map.shape[1]) for t in truths]
        found = panoptic_truths(view, images, sizes, table.things)
        for photo, truth, segments in zip(photos, truths, found, strict=True):
            if findings is not None:
                findings.tell(photo, truth, segments)
            counts.update(
                segments.segment_map,
                segments.segment_classes,
                truth.segment_map,
                truth.segment_classes,
                truth.crowd,
            )

    images, rate, silent = _measure(model, batches, card, accelerator, score, limit_batches)
    counts.counts = _summed(accelerator, counts.counts)
    quality = counts.quality()
    parts = (quality.all, quality.things, quality.stuff)
    values = [v for part in parts for v in (part.panoptic, part.segmentation, part.recognition)]
    named: dict[str, Any] = dict(zip(PanopticFigures.COLUMNS, values, strict=True))
    return PanopticFigures(
        **named,
        class_pq=_named(preprocessing, counts.per_class()[:, 0]),
        images=images,
        firing_rate=rate,
        silent_neurons=silent,
    )


def _measure(
    model: nn.Module,
    batches: Scenes,
    card: Card,
    accelerator: Accelerator,
    score: Callable[[View, Tensor, Tensor, list[Truth]], None],
    limit_batches: int | None,
) -> tuple[int, float | None, tuple[str, ...]]:
    """Shows all scenes; number of images, firing rate, silent neurons."""
    view = build_view(model, card.preprocessing, card.view or ViewConfig())
    transform = card.preprocessing.batch_transform

    def show(batch: tuple[tuple[Tensor, ...], Truths]) -> Iterator[int]:
        for images, group in _of_one_size(*batch):
            score(view, images, transform(images.to(accelerator.device)), group)
            yield len(group)

    return show_all(model, batches, accelerator, limit_batches, show)


def build_view(model: nn.Module, preprocessing: ScenePreprocessing, config: ViewConfig) -> View:
    """A model as photos are shown to it."""
    stride = model.stride
    assert isinstance(stride, int)

    def segment(images: Tensor) -> Segmentation | PixelSegmentation:
        return check_segmentation(model(images))

    return View(segment, stride, preprocessing.crop_size, config)


def _of_one_size(
    photos: tuple[Tensor, ...], truths: Truths
) -> Iterator[tuple[Tensor, list[Truth]]]:
    """Neighbours of the same size together, [B, 3, H, W] with B truths."""
    pairs = zip(photos, truths, strict=True)
    for _, group in groupby(pairs, key=lambda pair: tuple(pair[0].shape)):
        members = list(group)
        yield torch.stack([photo for photo, _ in members]), [truth for _, truth in members]


def _summed(accelerator: Accelerator, counts: Tensor) -> Tensor:
    """Counts of all processes together, float64 of the same shape."""
    summed = total(accelerator, list(counts.double().flatten().unbind()))
    return torch.tensor(summed, dtype=torch.float64).view(counts.shape)


def _named(preprocessing: ScenePreprocessing, scores: Tensor) -> dict[str, float | None]:
    values = [None if score != score else round(score, 4) for score in scores.tolist()]
    return dict(zip(preprocessing.classes, values, strict=True))


NO_SEGMENTER = (
    "the model is no segmenter: it does not return masks; pass task=classification, or a "
    "model.name such as spike2former_nano"
)


def check_segmentation(output: object) -> Segmentation | PixelSegmentation:
    """Refuses the output of a model that does not segment."""
    if not isinstance(output, Segmentation | PixelSegmentation):
        raise UserError(NO_SEGMENTER)
    return output
