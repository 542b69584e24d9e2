"""Panoptic quality against torchmetrics and by hand."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torchmetrics.detection import PanopticQuality as TheirQuality

from spikesight.metrics import PanopticCounts

THINGS, STUFF, VOID = {0, 1, 2}, {3, 4}, 9


def scene(generator: torch.Generator, size: int = 16) -> tuple[Tensor, Tensor]:
    """Rectangles over stuff, some of them void."""
    labels = [3, 4]
    segments = torch.zeros(size, size, dtype=torch.int64)
    segments[:, int(torch.randint(size, (), generator=generator)) :] = 1
    for _ in range(4):
        top, left = torch.randint(size - 4, (2,), generator=generator).tolist()
        high, wide = torch.randint(3, 9, (2,), generator=generator).tolist()
        segments[top : top + high, left : left + wide] = len(labels)
        labels.append(int(torch.randint(3, (), generator=generator)))
    if int(torch.randint(2, (), generator=generator)):
        segments[:3] = -1
    return segments, torch.tensor(labels)


def as_pairs(segments: Tensor, labels: Tensor) -> Tensor:
    """torchmetrics' form: category and instance id; stuff of one class is one segment."""
    category = torch.cat([labels, torch.tensor([VOID])])[segments]
    instance = torch.where(torch.isin(category, torch.tensor(sorted(THINGS))), segments, 0)
    return torch.stack([category, instance], -1)[None]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
def test_equals_torchmetrics(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    theirs = TheirQuality(THINGS, STUFF, allow_unknown_preds_category=True, return_per_class=True)
    ours = PanopticCounts(5, sorted(THINGS))
    for _ in range(3):
        true_map, true_labels = scene(generator)
        if int(torch.randint(2, (), generator=generator)):  # nearly right
            found_map, found_labels = true_map.roll(1, 1), true_labels.clone()
            found_labels[2] = (found_labels[2] + 1) % 3
        else:
            found_map, found_labels = scene(generator)
        # Unlike COCO, torchmetrics forgives missing what was predicted as nothing.
        found_map = found_map.clamp_min(0)
        ours.update(found_map, found_labels, true_map, true_labels)
        theirs.update(as_pairs(found_map, found_labels), as_pairs(true_map, true_labels))
    expected = 100 * theirs.compute().flatten()
    got = ours.per_class()[:, 0].nan_to_num(0.0)
    torch.testing.assert_close(got, expected.double(), rtol=1e-5, atol=1e-5)


def test_by_hand() -> None:
    """One match of IoU 3/4, one missed, one invented, stuff exact, one crowd and void ignored."""
    true = torch.tensor([[0, 0, 0, 0, 1, 1, 2, 2, 3, 3, -1, -1]])
    found = torch.tensor([[0, 0, 0, -1, 2, 2, 1, 1, 3, 3, 4, 4]])
    counts = PanopticCounts(3, [0, 1])
    counts.update(
        found,
        torch.tensor([0, 2, 1, 0, 1]),
        true,
        torch.tensor([0, 0, 2, 0]),
        torch.tensor([False, False, False, True]),
    )
    assert counts.counts.tolist() == [[1, 0, 1, 0.75], [0, 1, 0, 0], [1, 0, 0, 1]]
    quality = counts.quality()
    pq = 0.75 / 1.5
    assert quality.things.panoptic == pytest.approx(100 * (pq + 0) / 2)
    assert quality.stuff.panoptic == 100
    assert quality.all.panoptic == pytest.approx(100 * (pq + 0 + 1) / 3)
    assert quality.all.classes == 3
    assert quality.all.segmentation == pytest.approx(100 * (0.75 + 0 + 1) / 3)
    assert quality.all.recognition == pytest.approx(100 * (1 / 1.5 + 0 + 1) / 3)


def test_nothing_and_everything_right() -> None:
    assert PanopticCounts(2, [0]).quality().all.panoptic == 0
    generator = torch.Generator().manual_seed(0)
    counts = PanopticCounts(5, sorted(THINGS))
    for _ in range(3):
        segments, labels = scene(generator)
        counts.update(segments, labels, segments, labels)
    quality = counts.quality()
    assert quality.all.panoptic == quality.things.panoptic == quality.stuff.panoptic == 100


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"predicted_map": torch.tensor([[0, 2]])}, "predicted_map holds 0 to 2"),
        ({"predicted_map": torch.tensor([[-2, 0]])}, "predicted_map holds -2 to 0"),
        ({"true_map": torch.tensor([[0.0, 1.0]])}, "true_map is torch.float32"),
        ({"true_map": torch.tensor([[0]])}, "predicted_map has shape"),
        ({"true_classes": torch.tensor([3])}, "true_classes holds 3 to 3"),
    ],
)
def test_segments_that_cannot_be_are_refused(changed: dict[str, torch.Tensor], named: str) -> None:
    counts = PanopticCounts(3, (0,))
    segments = {
        "predicted_map": torch.tensor([[0, 1]]),
        "predicted_classes": torch.tensor([0, 1]),
        "true_map": torch.tensor([[0, -1]]),
        "true_classes": torch.tensor([0]),
    }
    counts.update(**segments)
    with pytest.raises(ValueError, match=named):
        counts.update(**{**segments, **changed})
