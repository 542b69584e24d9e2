"""IoU against an independent computation."""

import pytest
import torch
from hypothesis import given, strategies as st
from torchmetrics.classification import MulticlassConfusionMatrix

from spikesight.errors import UserError
from spikesight.metrics import ConfusionMatrix


@given(classes=st.integers(2, 7), seed=st.integers(0, 1000))
def test_equals_torchmetrics(classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    theirs = MulticlassConfusionMatrix(classes, ignore_index=-1)
    ours = ConfusionMatrix(classes)
    for _ in range(3):
        truth = torch.randint(-1, classes, (9, 11), generator=generator)
        noise = torch.randint(0, classes, (9, 11), generator=generator)
        wrong = torch.rand(9, 11, generator=generator) < 0.4
        predicted = torch.where(wrong, noise, truth.clamp_min(0))
        theirs.update(predicted, truth)
        ours.update(predicted, truth)
    matrix = theirs.compute()
    assert torch.equal(ours.counts, matrix)
    for number, score in enumerate(ours.intersection_over_union().tolist()):
        inside = int(matrix[number, number])
        union = int(matrix[number].sum() + matrix[:, number].sum()) - inside
        assert score == pytest.approx(100 * inside / union) if union else score != score
    assert ours.pixel_accuracy() == pytest.approx(
        100 * int(matrix.diagonal().sum()) / int(matrix.sum())
    )


@pytest.mark.parametrize(
    ("predicted", "truth", "named"),
    [
        (torch.tensor([4]), torch.tensor([0]), "predicted holds 4 to 4"),
        (torch.tensor([-1]), torch.tensor([1]), "predicted holds -1 to -1"),
        (torch.tensor([0.7]), torch.tensor([1]), "predicted is torch.float32"),
        (torch.tensor([0]), torch.tensor([1.5]), "truth torch.float32"),
        (torch.tensor([0]), torch.tensor([1, 1]), "predicted has shape"),
    ],
)
def test_what_is_no_class_is_no_hit(
    predicted: torch.Tensor, truth: torch.Tensor, named: str
) -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(UserError, match=named):
        matrix.update(predicted, truth)
    assert not matrix.counts.any()


def test_classes_in_neither_truth_nor_prediction_are_left_out_of_the_mean() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 0, 0]))
    # Class 0: 2 of 4; classes 1 and 2 are invented; class 3 occurs nowhere.
    assert matrix.mean_intersection_over_union() == pytest.approx((50 + 0 + 0) / 3)


def test_by_hand() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 1, 1, -1]]))
    assert matrix.intersection_over_union()[:2].tolist() == [50.0, 50.0]
    assert matrix.intersection_over_union()[2:].isnan().all()
    assert matrix.mean_intersection_over_union() == 50.0
    assert matrix.pixel_accuracy() == pytest.approx(200 / 3)
    assert ConfusionMatrix(3).mean_intersection_over_union() == 0.0
    assert ConfusionMatrix(3).pixel_accuracy() == 0.0
