from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from spikesight.detection_outputs import Candidates, DenseDetection
from spikesight.inference import decode_detections
from spikesight.losses import DetectionLoss
from spikesight.losses.detection import assign
from spikesight.objects import Objects

SIZE = (32, 48)
CLASSES = 3


def maps(dtype: torch.dtype = torch.float32, batch: int = 2) -> DenseDetection:
    """Random maps of strides 4 and 8."""
    shapes = [(SIZE[0] // stride, SIZE[1] // stride) for stride in (4, 8)]

    def random(channels: int, mean: float = 0.0) -> tuple[Tensor, ...]:
        return tuple(mean + torch.randn(batch, channels, *s, dtype=dtype) for s in shapes)

    return DenseDetection(random(1), random(4, 1.0), random(CLASSES))


def objects(*boxes: tuple[float, ...], classes: tuple[int, ...], crowd: Any = ()) -> Objects:
    return Objects(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor([i in crowd for i in range(len(classes))], dtype=torch.bool),
    )


TWO = objects((4, 2, 28, 26), (14, 8, 44, 30), classes=(0, 2))


def iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def slow_assignment(
    candidates: Candidates, truth: Objects, most: int
) -> dict[int, tuple[int, float]]:
    """Object and quality of the candidates of one image, candidate by candidate."""
    taken: dict[int, dict[int, float]] = {}
    aligned: dict[tuple[int, int], float] = {}
    for number, (box, kind) in enumerate(
        zip(truth.boxes.tolist(), truth.classes.tolist(), strict=True)
    ):
        for place, (x, y) in enumerate(candidates.places.tolist()):
            if box[0] <= x <= box[2] and box[1] <= y <= box[3]:
                overlap = iou(box, candidates.boxes[0, place].tolist())
                score = float(candidates.classes[0, place, kind].sigmoid())
                aligned[number, place] = score**0.5 * overlap**4
        best = sorted((p for n, p in aligned if n == number), key=lambda p: -aligned[number, p])
        for place in best[:most]:
            overlap = iou(box, candidates.boxes[0, place].tolist())
            taken.setdefault(place, {})[number] = overlap
    owner = {place: max(found, key=lambda n: found[n]) for place, found in taken.items()}
    result = {}
    for place, number in owner.items():
        own = [p for p, n in owner.items() if n == number]
        scale = max(taken[p][number] for p in own) / max(aligned[number, p] for p in own)
        result[place] = (number, aligned[number, place] * scale)
    return result


def test_two_overlapping_objects_take_what_a_slow_loop_says() -> None:
    conflicts = 0
    for seed in range(10):
        torch.manual_seed(seed)
        candidates = maps(torch.float64, batch=1).candidates(SIZE)
        boxes, classes = TWO.boxes[None].double(), TWO.classes[None]
        found = assign(
            candidates,
            boxes,
            classes,
            torch.ones(1, 2, dtype=torch.bool),
            most=7,
            class_power=0.5,
            overlap_power=4.0,
        )
        expected = slow_assignment(candidates, TWO, most=7)
        conflicts += 14 - len(expected)
        assert found.positive[0].nonzero().flatten().tolist() == sorted(expected)
        for place, (number, quality) in expected.items():
            assert int(found.objects[0, place]) == number
            assert float(found.quality[0, place]) == pytest.approx(quality)
        assert float(found.quality.sum()) == pytest.approx(sum(q for _, q in expected.values()))
    assert conflicts > 0


def test_an_object_smaller_than_a_pixel_takes_one() -> None:
    for x in (7.0, 8.0, 9.5, 46.6):
        tiny = objects((x, 5.0, x + 1, 6.5), classes=(1,))
        candidates = maps(batch=1).candidates(SIZE)
        candidates.boxes[:] = tiny.boxes
        found = assign(
            candidates,
            tiny.boxes[None],
            tiny.classes[None],
            torch.ones(1, 1, dtype=torch.bool),
            most=10,
            class_power=0.5,
            overlap_power=4.0,
        )
        assert int(found.positive.sum()) >= 1


def test_the_gradient_is_that_of_differences() -> None:
    output = maps(torch.float64, batch=1)
    leaves = [*output.centres, *output.distances, *output.classes]
    loss = DetectionLoss(CLASSES)
    fixed = loss.assign(
        output.candidates(SIZE),
        TWO.boxes[None].double(),
        TWO.classes[None],
        torch.ones(1, 2, dtype=torch.bool),
    )
    loss.assign = lambda *_: fixed  # type: ignore[method-assign]

    def terms(*parts: Tensor) -> tuple[Tensor, ...]:
        found = loss(DenseDetection(parts[:2], parts[2:4], parts[4:]), [TWO], SIZE)
        # The target of a centre is the box's overlap, and no gradient flows into a target.
        return found["classes"], found["boxes"]

    assert torch.autograd.gradcheck(terms, [leaf.requires_grad_() for leaf in leaves])


def test_learning_it_finds_the_objects() -> None:
    output = maps()
    parts = [*output.centres, *output.distances, *output.classes]
    optimizer = torch.optim.Adam([p.requires_grad_() for p in parts], lr=0.1)
    loss = DetectionLoss(CLASSES)
    truth = [TWO, objects((30, 6, 39, 17), classes=(1,))]
    for _ in range(150):
        optimizer.zero_grad()
        loss(output, truth, SIZE)["total"].backward()
        optimizer.step()
    for found, wanted in zip(decode_detections(output, SIZE), truth, strict=True):
        sure = found[found.scores > 0.5]
        order = sure.classes.argsort()
        assert torch.equal(sure.classes[order], wanted.classes)
        torch.testing.assert_close(sure.boxes[order], wanted.boxes, rtol=0, atol=0.7)


def test_crowds_neither_attract_nor_repel() -> None:
    output = maps(batch=1)
    classes = [m.requires_grad_() for m in output.classes]
    everywhere = (0, 0, SIZE[1], SIZE[0])
    crowd = objects(everywhere, classes=(1,), crowd=(0,))
    terms = DetectionLoss(CLASSES)(output, [crowd], SIZE)
    assert float(terms["total"].detach()) == 0.0
    within = objects(everywhere, (4, 2, 28, 26), classes=(1, 0), crowd=(0,))
    DetectionLoss(CLASSES)(output, [within], SIZE)["total"].backward()
    learning = sum(int(m.grad.any(1).sum()) for m in classes)
    assert learning == DetectionLoss(CLASSES).most


def test_images_without_objects_and_boxes_without_area() -> None:
    output = maps()
    loss = DetectionLoss(CLASSES)
    nothing = loss(output, [Objects.none()] * 2, SIZE)
    assert float(nothing["boxes"]) == float(nothing["centres"]) == 0
    assert float(nothing["classes"]) > 0
    flat = objects((5, 5, 5, 9), (3, 3, 3, 3), classes=(0, 1))
    for name, value in loss(output, [flat, Objects.none()], SIZE).items():
        assert torch.equal(value, nothing[name])
    one = loss(output, [TWO, flat], SIZE)
    assert one["total"].isfinite()
    torch.testing.assert_close(
        one["total"], one["classes"] + one["boxes"] + one["centres"], rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("targets", "arguments", "named"),
    [
        ([TWO], {}, "pass one per image"),
        ([TWO, TWO], {"num_classes": 2}, "num_classes=3"),
        ([TWO, objects((0, 0, 9, 9), classes=(7,))], {}, "class 7"),
    ],
)
def test_what_does_not_fit_is_refused(
    targets: list[Objects], arguments: dict[str, Any], named: str
) -> None:
    loss = DetectionLoss(**{"num_classes": CLASSES, **arguments})
    with pytest.raises(ValueError, match=named):
        loss(maps(), targets, SIZE)


def test_weights_are_checked() -> None:
    with pytest.raises(ValueError, match=r"detection\.loss\.box_weight is -1"):
        DetectionLoss(CLASSES, box_weight=-1.0)
    with pytest.raises(ValueError, match=r"detection\.loss\.candidates is 0"):
        DetectionLoss(CLASSES, candidates=0)
