"""Average precision of detected boxes and masks, by COCO's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikesight.errors import UserError
from spikesight.objects import Detections, Objects

_MOST = 100
_AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class Precision:
    """Average precision of boxes or of masks, in percent; NaN where there is nothing to find.

    Attributes:
        mean: AP: the mean over the classes that occur and over the ten IoU thresholds 0.5, 0.55,
            ..., 0.95.
        at_50: AP50, at IoU 0.5 alone.
        at_75: AP75.
        small: AP of objects below 32 x 32 pixels.
        medium: AP of objects from 32 x 32 to 96 x 96 pixels.
        large: AP of larger objects.
        recall: AR: the largest recall, averaged as AP is.
        per_class: AP of each class.
        per_class_at_50: AP50 of each class.
    """

    mean: float
    at_50: float
    at_75: float
    small: float
    medium: float
    large: float
    recall: float
    per_class: tuple[float, ...]
    per_class_at_50: tuple[float, ...]


@dataclass(frozen=True)
class DetectionQuality:
    """How well objects were found.

    Attributes:
        boxes: By the overlap of boxes.
        masks: By the overlap of masks; None of a detector of boxes.
    """

    boxes: Precision
    masks: Precision | None


class AveragePrecision:
    """Collects what was found and what is there; computes COCO's average precision of it.

    Found objects are matched to true ones of their image and class, the surest first, each true one
    once; those that match a crowd, or lie within one, count for nothing. Precision is interpolated
    at 101 recalls. An object is small, medium or large by the area of its mask where it has one,
    else of its box.

    Attributes:
        images: What was collected, one entry per image: plain lists, numbers and texts, so that
            processes can exchange and join them.

    Args:
        classes: Classes K.
        masks: Whether masks are compared beside boxes.
        most: Detections per image and class that count, the surest ones.
    """

    def __init__(self, classes: int, masks: bool = False, most: int = _MOST) -> None:
        self.images: list[dict[str, Any]] = []
        self._classes = classes
        self._masks = masks
        self._most = most

    def update(self, found: Detections, truth: Objects) -> None:
        """Adds an image.

        Args:
            found: What was found in it.
            truth: What is there, in the same pixels.

        Raises:
            UserError: If a class is out of range, or masks are missing or of different sizes.
        """
        for name, labels in (("found", found.classes), ("true", truth.classes)):
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self._classes:
                raise UserError(
                    f"the {name} classes are {int(labels.min())} to {int(labels.max())}; pass "
                    f"classes of 0 to {self._classes - 1}"
                )
        entry: dict[str, Any] = {
            "size": [0, 0],
            "found": {**_plain(found.boxes, found.classes), "scores": found.scores.tolist()},
            "true": {**_plain(truth.boxes, truth.classes), "crowd": truth.crowd.tolist()},
        }
        areas = _areas(truth.boxes)
        if truth.masks is not None:
            areas = truth.masks.count_nonzero((1, 2))
        entry["true"]["areas"] = areas.tolist()
        if self._masks:
            if found.masks is None or truth.masks is None:
                raise UserError(
                    "masks are compared but were not passed; pass Detections and Objects with "
                    "masks, or AveragePrecision(classes, masks=False)"
                )
            sizes = (tuple(found.masks.shape[1:]), tuple(truth.masks.shape[1:]))
            if sizes[0] != sizes[1]:
                raise UserError(
                    f"the found masks have {sizes[0]} pixels and the true ones {sizes[1]}; pass "
                    "both at the size of the photo"
                )
            entry["size"] = list(sizes[0])
            entry["found"]["masks"] = _run_lengths(found.masks)
            entry["true"]["masks"] = _run_lengths(truth.masks)
        self.images.append(entry)

    def compute(self) -> DetectionQuality:
        """The figures of all images so far."""
        return DetectionQuality(
            self._precision("bbox"), self._precision("segm") if self._masks else None
        )

    def _precision(self, kind: Literal["bbox", "segm"]) -> Precision:
        from faster_coco_eval import COCO, COCOeval_faster

        if not self.images:
            nothing = (float("nan"),) * self._classes
            return Precision(*(float("nan"),) * 7, nothing, nothing)
        truth: Any = COCO()
        found: Any = COCO()
        for side, which in ((truth, "true"), (found, "found")):
            side.dataset = self._dataset(which, kind)
            side.createIndex()
        evaluation: Any = COCOeval_faster(truth, found, kind, print_function=_say_nothing)
        evaluation.params.maxDets = [self._most]
        evaluation.evaluate()
        evaluation.accumulate()
        # [10 thresholds, 101 recalls, classes, areas, 1] and [10, classes, areas, 1]; -1 is none.
        precision = np.asarray(evaluation.eval["precision"])[..., 0]
        recall = np.asarray(evaluation.eval["recall"])[..., 0]
        areas = {name: _mean(precision[:, :, :, place]) for place, name in enumerate(_AREAS)}
        whole = precision[..., 0]
        classes = range(self._classes)
        return Precision(
            mean=areas["all"],
            at_50=_mean(whole[0]),
            at_75=_mean(whole[5]),
            small=areas["small"],
            medium=areas["medium"],
            large=areas["large"],
            recall=_mean(recall[..., 0]),
            per_class=tuple(_mean(whole[:, :, number]) for number in classes),
            per_class_at_50=tuple(_mean(whole[0, :, number]) for number in classes),
        )

    def _dataset(self, which: str, kind: str) -> dict[str, Any]:
        """The images as COCO's JSON has them."""
        annotations: list[dict[str, Any]] = []
        for image, entry in enumerate(self.images, start=1):
            part = entry[which]
            for place, label in enumerate(part["classes"]):
                left, top, right, bottom = part["boxes"][place]
                annotation = {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
                if which == "true":
                    annotation["iscrowd"] = int(part["crowd"][place])
                    annotation["area"] = part["areas"][place]
                else:
                    annotation["score"] = part["scores"][place]
                if kind == "segm":
                    runs = part["masks"][place]
                    annotation["segmentation"] = runs
                    if which == "found":
                        annotation["area"] = runs["area"]
                annotations.append(annotation)
        sizes = [entry["size"] for entry in self.images]
        return {
            "images": [
                {"id": number, "height": height, "width": width}
                for number, (height, width) in enumerate(sizes, start=1)
            ],
            "categories": [{"id": n + 1, "name": str(n)} for n in range(self._classes)],
            "annotations": annotations,
        }


def _say_nothing(*_: object) -> None:
    pass


def _plain(boxes: Tensor, classes: Tensor) -> dict[str, Any]:
    return {"boxes": boxes.tolist(), "classes": classes.tolist()}


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _run_lengths(masks: Tensor) -> list[dict[str, Any]]:
    """Masks [N, H, W] in COCO's compressed form."""
    from faster_coco_eval.core import mask as coco_masks

    if not len(masks):
        return []
    pixels = masks.cpu().numpy().view(np.uint8).transpose(1, 2, 0)
    encoded = coco_masks.encode(np.asfortranarray(pixels))
    areas = coco_masks.area(encoded).tolist()
    return [{**runs, "area": area} for runs, area in zip(encoded, areas, strict=True)]


def _mean(values: NDArray[np.float64]) -> float:
    known = values[values > -1]
    return 100 * float(known.mean()) if known.size else float("nan")
