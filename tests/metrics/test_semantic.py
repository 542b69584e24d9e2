"""IoU against an independent computation."""

import pytest
import torch
from hypothesis import given, strategies as st
from torchmetrics.classification import MulticlassConfusionMatrix

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


def test_a_class_that_is_none_is_no_hit() -> None:
    with pytest.raises(AssertionError):
        ConfusionMatrix(3).update(torch.tensor([4]), torch.tensor([0]))


def test_by_hand() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 1, 1, -1]]))
    assert matrix.intersection_over_union()[:2].tolist() == [50.0, 50.0]
    assert matrix.intersection_over_union()[2:].isnan().all()
    assert matrix.mean_intersection_over_union() == 50.0
    assert matrix.pixel_accuracy() == pytest.approx(200 / 3)
    assert ConfusionMatrix(3).mean_intersection_over_union() == 0.0
    assert ConfusionMatrix(3).pixel_accuracy() == 0.0
