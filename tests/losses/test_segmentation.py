from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.losses import PixelLoss, SegmentationLoss, Segments
from spikesight.losses.segmentation import semantic_loss
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation

CLASSES = 3


def scene() -> Segments:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :, :2] = True
    masks[1, :, 2:] = True
    return Segments(torch.tensor([2, 0]), masks)


def perfect(order: tuple[int, ...] = (0, 1), sharpness: float = 20.0) -> Segmentation:
    """Two queries that answer the scene and one that says "no object"."""
    target = scene()
    masks = torch.full((1, 3, 4, 4), -sharpness)
    classes = torch.zeros(1, 3, CLASSES + 1)
    classes[0, :, CLASSES] = sharpness
    for query, segment in enumerate(order):
        masks[0, query] = (target.masks[segment].float() * 2 - 1) * sharpness
        classes[0, query] = F.one_hot(target.labels[segment], CLASSES + 1) * sharpness
    return Segmentation(classes, masks)


def test_a_perfect_answer_costs_nothing_in_any_order() -> None:
    for order in ((0, 1), (1, 0)):
        terms = SegmentationLoss(CLASSES)(perfect(order), [scene()])
        assert float(terms["classes"] + terms["masks"]) < 1e-4
        assert float(terms["dice"]) < 1e-2


def test_points_tell_right_from_wrong() -> None:
    loss = SegmentationLoss.panoptic(CLASSES)
    right = loss(perfect(), [scene()])
    # Between two pixels truth is a fraction, so even a perfect answer costs something.
    assert float(right["classes"]) < 1e-4
    empty = Segmentation(perfect().class_logits, perfect().mask_logits.abs().neg())
    wrong = loss(empty, [scene()])
    assert float(wrong["masks"]) > 2 * float(right["masks"])
    assert float(wrong["dice"]) > 2 * float(right["dice"])


def test_terms_are_those_of_the_formulas() -> None:
    target = Segments(torch.tensor([1]), torch.tensor([[[True, False], [False, False]]]))
    logits = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]]]])
    classes = torch.tensor([[[0.1, 0.7, -0.2, 0.3]]])
    terms = SegmentationLoss(CLASSES)(Segmentation(classes, logits), [target])

    def focal(logit: float, truth: int) -> float:
        p = 1 / (1 + math.exp(-logit))
        if truth:
            return -0.25 * (1 - p) ** 2 * math.log(p)
        return -0.75 * p**2 * math.log(1 - p)

    values = [(2.0, 1), (-1.0, 0), (0.5, 0), (-3.0, 0)]
    assert float(terms["masks"]) == pytest.approx(20 * sum(focal(*v) for v in values) / 4)
    p = [1 / (1 + math.exp(-logit)) for logit, _ in values]
    assert float(terms["dice"]) == pytest.approx(1 - (2 * p[0] + 1) / (sum(p) + 1 + 1))
    expected = -(0.7 - math.log(sum(math.exp(v) for v in classes[0, 0].tolist())))
    assert float(terms["classes"]) == pytest.approx(expected)
    assert float(terms["total"]) == pytest.approx(sum(float(terms[k]) for k in list(terms)[:3]))


@pytest.mark.parametrize("panoptic", [False, True])
def test_matching_and_losses_leave_autocast(panoptic: bool) -> None:
    torch.manual_seed(0)
    coarse = Segmentation(torch.randn(1, 3, CLASSES + 1), torch.randn(1, 3, 4, 4))
    half = Segmentation(coarse.class_logits.bfloat16(), coarse.mask_logits.bfloat16())
    loss = (SegmentationLoss.panoptic if panoptic else SegmentationLoss)(
        CLASSES, auxiliary_pixel_loss=1.0
    )

    def terms(output: Segmentation) -> dict[str, Tensor]:
        torch.manual_seed(1)
        return loss(output, [scene()])  # type: ignore[no-any-return]

    exact = terms(half.float())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = terms(half)
    assert {value.dtype for value in mixed.values()} == {torch.float32}
    assert mixed == exact


def test_every_auxiliary_output_counts_once() -> None:
    one = perfect(sharpness=1.0)
    three = Segmentation(one.class_logits, one.mask_logits, (one, one))
    loss = SegmentationLoss(CLASSES)
    single, triple = loss(one, [scene()]), loss(three, [scene()])
    torch.testing.assert_close(triple["total"], 3 * single["total"])
    shallow = SegmentationLoss(CLASSES, deep_supervision=False)(three, [scene()])
    torch.testing.assert_close(shallow["total"], single["total"])


def test_an_image_without_segments_wants_no_object() -> None:
    empty = Segments(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, 4, dtype=torch.bool))
    for loss in (SegmentationLoss(CLASSES), SegmentationLoss.panoptic(CLASSES)):
        output = Segmentation(
            torch.zeros(1, 3, CLASSES + 1, requires_grad=True),
            torch.zeros(1, 3, 4, 4, requires_grad=True),
        )
        terms = loss(output, [empty])
        assert float(terms["masks"].detach()) == 0.0
        terms["total"].backward()
        assert output.class_logits.grad[0, 0, CLASSES] < 0


def test_gradient_descent_learns_a_scene() -> None:
    torch.manual_seed(1)
    classes = torch.randn(1, 6, CLASSES + 1, requires_grad=True)
    masks = torch.randn(1, 6, 4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([classes, masks], 0.2)
    loss = SegmentationLoss(CLASSES, auxiliary_pixel_loss=1.0)
    for _ in range(60):
        total = loss(Segmentation(classes, masks), [scene()])["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    with torch.no_grad():
        assert float(semantic_loss(Segmentation(classes, masks), *_targets())) < 0.05


def _targets() -> tuple[list[Tensor], list[Tensor]]:
    return [scene().labels], [scene().masks.float()]


def test_the_pixel_loss_is_zero_for_a_perfect_map() -> None:
    assert float(semantic_loss(perfect(), *_targets())) < 1e-3
    swapped = perfect()
    wrong = Segmentation(swapped.class_logits.flip(1)[:, [2, 1, 0]], swapped.mask_logits.flip(1))
    assert float(semantic_loss(wrong, *_targets())) > 0.5


def test_label_maps_become_segments() -> None:
    labels = torch.tensor([[0, 2], [255, 2]])
    segments = Segments.from_label_map(labels, CLASSES)
    assert segments.labels.tolist() == [0, 2]
    assert segments.masks.sum((1, 2)).tolist() == [1, 2]


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="one per image"):
        SegmentationLoss(CLASSES)(perfect(), [])
    with pytest.raises(ValueError, match="num_classes=3"):
        SegmentationLoss(7)(perfect(), [scene()])
    with pytest.raises(ValueError, match="labels"):
        Segments(torch.tensor([1]), torch.zeros(2, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="int64"):
        Segments(torch.tensor([1.0]), torch.zeros(1, 4, 4, dtype=torch.bool))
    broken = Segmentation(torch.full((1, 3, 4), math.nan), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="not finite"):
        SegmentationLoss(CLASSES)(broken, [scene()])


def test_pixel_heads_are_told_instead_of_the_map() -> None:
    wrong = torch.zeros(1, CLASSES, *perfect().mask_logits.shape[-2:])
    loss = SegmentationLoss(CLASSES, auxiliary_pixel_loss=2.0)
    told = loss(replace(perfect(), pixel_logits=(wrong, wrong)), [scene()])["pixels"]
    assert float(told) == pytest.approx(2 * 2 * math.log(CLASSES))
    assert float(loss(perfect(), [scene()])["pixels"]) < 0.1


def test_a_semantic_map_can_be_told_beside_pixel_heads() -> None:
    target = scene()
    heads = torch.zeros(1, CLASSES, *target.masks.shape[-2:])
    output = replace(perfect((1, 0)), pixel_logits=(heads,))
    wrong = replace(output, mask_logits=-output.mask_logits)
    loss = SegmentationLoss(CLASSES, auxiliary_pixel_loss=2.0, semantic_map_loss=3.0)
    assert float(loss(output, [target])["map"]) < 0.1
    assert float(loss(output, [target])["pixels"]) == pytest.approx(2 * math.log(CLASSES))
    expected = 3 * semantic_loss(wrong, *_targets())
    torch.testing.assert_close(loss(wrong, [target])["map"], expected)
    assert "map" not in SegmentationLoss(CLASSES, auxiliary_pixel_loss=2.0)(output, [target])


def test_a_fixed_assignment_gives_class_k_to_query_k() -> None:
    target = scene()  # classes 2 and 0, in this order
    loss = SegmentationLoss(CLASSES, assignment="fixed")
    answers = perfect((1, 0))  # queries 0 and 1 have them, where 0 and 2 should
    ((queries, segments),) = loss.assign(answers, [target.labels], [target.masks.float()])
    assert queries.tolist() == [2, 0]
    assert segments.tolist() == [0, 1]
    order = [0, 2, 1]
    right = Segmentation(answers.class_logits[:, order], answers.mask_logits[:, order])
    assert float(loss(right, [target])["total"]) < 1e-2
    assert float(loss(answers, [target])["total"]) > 1


def test_a_fixed_assignment_wants_a_query_per_class_and_a_class_per_segment() -> None:
    loss = SegmentationLoss(CLASSES, assignment="fixed")
    output = perfect()
    few = Segmentation(output.class_logits[:, :2], output.mask_logits[:, :2])
    with pytest.raises(ValueError, match=r"2 queries for 3 classes; pass .*queries=3"):
        loss(few, [scene()])
    twice = Segments(torch.tensor([1, 1]), scene().masks)
    with pytest.raises(ValueError, match=r"several segments of one class; pass .*hungarian"):
        loss(output, [twice])
    with pytest.raises(ValueError, match="assignment"):
        SegmentationLoss(CLASSES, assignment="random")  # type: ignore[arg-type]


@pytest.mark.parametrize("label", [3, 4, -1, 255])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    segments = Segments(torch.tensor([label]), torch.ones(1, 8, 8, dtype=torch.bool))
    output = Segmentation(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, 4))
    with pytest.raises(ValueError, match="3 classes; number classes"):
        SegmentationLoss(3)(output, [segments])
    with pytest.raises(ValueError, match="3 classes; number classes"):
        PixelLoss(3)(PixelSegmentation(torch.zeros(1, 3, 4, 4)), [segments])
