"""Average precision against a computation of its own, on cases by hand and at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikesight.errors import UserError
from spikesight.metrics import AveragePrecision, Precision
from spikesight.objects import Detections, Objects

AREAS = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
Image = tuple[Detections, Objects]


def overlaps(found: Any, true: Any, crowd: Any) -> NDArray[np.float64]:
    """IoU of masks; with a crowd, the share of what was found that lies in it."""
    result = np.zeros((len(found), len(true)))
    for i, one in enumerate(found):
        for j, other in enumerate(true):
            both = (one & other).sum()
            whole = one.sum() if crowd[j] else (one | other).sum()
            result[i, j] = both / whole if whole else 0.0
    return result


def box_overlaps(found: Any, true: Any, crowd: Any) -> NDArray[np.float64]:
    result = np.zeros((len(found), len(true)))
    for i, (a, b, c, d) in enumerate(found):
        for j, (e, f, g, h) in enumerate(true):
            both = max(min(c, g) - max(a, e), 0) * max(min(d, h) - max(b, f), 0)
            own, other = (c - a) * (d - b), (g - e) * (h - f)
            result[i, j] = both / (own if crowd[j] else own + other - both)
    return result


def expected(images: list[Image], label: int, threshold: float, area: int, masks: bool) -> Any:
    """AP and largest recall of a class at an IoU and for a range of areas; None without objects."""
    low, high = AREAS[area]
    rows: list[tuple[float, bool]] = []
    number = 0
    for found, truth in images:
        mine = (truth.classes == label).nonzero()[:, 0]
        own = (found.classes == label).nonzero()[:, 0]
        own = own[torch.argsort(found.scores[own], descending=True, stable=True)][:100]
        boxes = truth.boxes[mine].double().numpy(), found.boxes[own].double().numpy()
        crowd = truth.crowd[mine].numpy()
        if truth.masks is not None:
            sizes = truth.masks[mine].sum((1, 2)).double().numpy()
        else:
            sizes = np.array([(c - a) * (d - b) for a, b, c, d in boxes[0]])
        if masks:
            assert truth.masks is not None
            assert found.masks is not None
            iou = overlaps(found.masks[own].numpy(), truth.masks[mine].numpy(), crowd)
            found_sizes = found.masks[own].sum((1, 2)).double().numpy()
        else:
            iou = box_overlaps(boxes[1], boxes[0], crowd)
            found_sizes = np.array([(c - a) * (d - b) for a, b, c, d in boxes[1]])
        ignored = crowd | (sizes < low) | (sizes > high)
        number += int((~ignored).sum())
        taken: set[int] = set()
        for i in range(len(own)):
            best: int | None = None
            for j in sorted(range(len(mine)), key=lambda j: bool(ignored[j])):
                if j in taken and not crowd[j]:
                    continue
                if best is not None and not ignored[best] and ignored[j]:
                    break  # a true object that counts is better than any that does not
                if iou[i, j] >= (threshold if best is None else iou[i, best]):
                    best = j
            score = float(found.scores[own[i]])
            if best is not None:
                taken.add(best)
                if not ignored[best]:
                    rows.append((score, True))
            elif low <= found_sizes[i] <= high:
                rows.append((score, False))
    if not number:
        return None
    rows.sort(key=lambda row: -row[0])
    hits = np.cumsum([hit for _, hit in rows])
    precision = hits / np.arange(1, len(rows) + 1)
    recall = hits / number
    total = 0.0
    for point in np.linspace(0, 1, 101):
        reached = precision[recall >= point]
        total += float(reached.max()) if len(reached) else 0.0
    return total / 101, float(recall[-1]) if len(rows) else 0.0


def compare(images: list[Image], classes: int, masks: bool, given: Precision) -> None:
    thresholds = np.linspace(0.5, 0.95, 10)

    def mean(labels: Any, places: Any, area: int, which: int = 0) -> float:
        found = [
            value[which]
            for label in labels
            for place in places
            if (value := expected(images, label, thresholds[place], area, masks)) is not None
        ]
        return 100 * float(np.mean(found)) if found else math.nan

    every, labels = range(10), range(classes)
    wanted = {
        "mean": mean(labels, every, 0),
        "at_50": mean(labels, [0], 0),
        "at_75": mean(labels, [5], 0),
        "small": mean(labels, every, 1),
        "medium": mean(labels, every, 2),
        "large": mean(labels, every, 3),
        "recall": mean(labels, every, 0, which=1),
    }
    for name, value in wanted.items():
        assert getattr(given, name) == pytest.approx(value, nan_ok=True, abs=1e-4), name
    for label in labels:
        assert given.per_class[label] == pytest.approx(mean([label], every, 0), nan_ok=True)
        assert given.per_class_at_50[label] == pytest.approx(mean([label], [0], 0), nan_ok=True)


def objects(boxes: Any, classes: Any, crowd: Any = None) -> Objects:
    return Objects(
        torch.tensor(boxes).float().view(-1, 4),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor(crowd or [False] * len(classes), dtype=torch.bool),
    )


def detections(boxes: Any, classes: Any, scores: Any) -> Detections:
    return Detections(
        torch.tensor(boxes).float().view(-1, 4),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float32),
    )


def quality(images: list[Image], classes: int, masks: bool = False) -> Any:
    metric = AveragePrecision(classes, masks)
    for found, truth in images:
        metric.update(found, truth)
    return metric.compute()


def test_a_case_by_hand() -> None:
    # Two objects; the surest detection is wrong, the second right, the third a second time.
    truth = objects([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0])
    found = detections(
        [[20, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 10]], [0, 0, 0], [0.9, 0.8, 0.7]
    )
    given = quality([(found, truth)], 2).boxes
    # Half of the objects are found, at a precision of 1/2: 51 of the 101 recalls are reached.
    assert given.at_50 == pytest.approx(100 * 51 / 101 / 2)
    assert given.mean == pytest.approx(given.at_50)
    assert given.recall == pytest.approx(50)
    assert math.isnan(given.per_class[1])
    compare([(found, truth)], 2, False, given)


def test_what_lies_in_a_crowd_is_not_wrong_and_a_crowd_is_not_missed() -> None:
    truth = objects([[0, 0, 10, 10], [40, 40, 90, 90]], [0, 0], [False, True])
    found = detections(
        [[45, 45, 50, 50], [60, 60, 70, 70], [0, 0, 10, 9]], [0, 0, 0], [0.9, 0.8, 0.7]
    )
    given = quality([(found, truth)], 1).boxes
    assert given.at_50 == pytest.approx(100)
    compare([(found, truth)], 1, False, given)


def test_the_scores_and_the_images_of_a_set_are_ranked_together() -> None:
    truth = objects([[0, 0, 40, 40]], [0])
    images = [
        (detections([[0, 0, 40, 40]], [0], [0.2]), truth),
        (detections([[100, 100, 140, 140]], [0], [0.9]), objects([], [])),
        (detections([], [], []), truth),
    ]
    given = quality(images, 1).boxes
    assert given.at_50 == pytest.approx(100 * 51 / 101 / 2)
    compare(images, 1, False, given)


def random_image(random: np.random.Generator, masks: bool, size: int = 120) -> Image:
    def shapes(number: int) -> Any:
        corners = random.integers(0, size - 8, (number, 2))
        sides = random.choice([6, 20, 40, 110], (number, 2)) + random.integers(0, 5, (number, 2))
        return np.concatenate([corners, np.minimum(corners + sides, size)], 1)

    def painted(boxes: Any) -> torch.Tensor:
        result = torch.zeros(len(boxes), size, size, dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(result, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = True
            mask[top : top + 3, left : left + 3] = False
        return result

    boxes = shapes(int(random.integers(0, 8)))
    classes = random.integers(0, 3, len(boxes))
    crowd = random.random(len(boxes)) < 0.15
    seen = random.random(len(boxes)) < 0.8
    copies = boxes[seen]
    near = copies + random.integers(-2, 3, copies.shape)
    found = np.concatenate([near, shapes(int(random.integers(0, 5)))])
    found = np.concatenate([found[:, :2], np.maximum(found[:, 2:], found[:, :2] + 2)], 1)
    found = np.clip(found, 0, size)
    labels = random.integers(0, 3, len(found))
    labels[: len(copies)] = np.where(random.random(len(copies)) < 0.8, classes[seen], 0)
    scores = random.permutation(1000)[: len(found)] / 1000
    return (
        Detections(
            torch.from_numpy(found).float(),
            torch.from_numpy(labels),
            torch.from_numpy(scores).float(),
            painted(found) if masks else None,
        ),
        Objects(
            torch.from_numpy(boxes).float(),
            torch.from_numpy(classes),
            torch.from_numpy(crowd),
            painted(boxes) if masks else None,
        ),
    )


@pytest.mark.parametrize("seed", range(4))
def test_equals_an_independent_computation(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(seed)
    masks = seed % 2 == 0
    images = [random_image(random, masks) for _ in range(6)]
    given = quality(images, 3, masks)
    compare(images, 3, False, given.boxes)
    if masks:
        compare(images, 3, True, given.masks)
    assert 5 < given.boxes.mean < 90
    assert capfd.readouterr() == ("", "")


def test_lists_of_several_processes_add_up() -> None:
    random = np.random.default_rng(9)
    images = [random_image(random, True) for _ in range(4)]
    parts = [AveragePrecision(3, masks=True) for _ in range(2)]
    for place, (found, truth) in enumerate(images):
        parts[place % 2].update(found, truth)
    parts[0].images += parts[1].images
    assert repr(parts[0].compute()) == repr(quality([images[n] for n in (0, 2, 1, 3)], 3, True))


def test_nothing_at_all_is_no_number() -> None:
    assert math.isnan(AveragePrecision(2).compute().boxes.mean)
    assert math.isnan(quality([(detections([], [], []), objects([], []))], 2).boxes.mean)
    missed = quality([(detections([], [], []), objects([[0, 0, 5, 5]], [0]))], 2).boxes
    assert missed.mean == missed.recall == 0


def test_what_cannot_be_compared_is_named() -> None:
    truth, found = objects([[0, 0, 5, 5]], [0]), detections([[0, 0, 5, 5]], [2], [0.5])
    with pytest.raises(UserError, match="found classes are 2 to 2; pass classes of 0 to 1"):
        AveragePrecision(2).update(found, truth)
    with pytest.raises(UserError, match="pass Detections and Objects with masks"):
        AveragePrecision(3, masks=True).update(found, truth)
