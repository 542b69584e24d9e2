"""Padding, windows, scales and mirrored photos give what a pixel-wise segmenter must say."""

import pytest
import torch
from torch import Tensor

from spikesight.inference import (
    PanopticRules,
    View,
    ViewConfig,
    class_map,
    fuse,
    instance_masks,
    panoptic_truths,
    photo_scores,
)
from spikesight.inference.semantic import semantic_scores
from spikesight.inference.views import windows
from spikesight.segmentation_outputs import Segmentation

SURE = 12.0


def by_colour(images: Tensor) -> Segmentation:
    """Query q of three is class q and covers the pixels whose channel q is brightest."""
    assert images.shape[-1] % 4 == 0
    assert images.shape[-2] % 4 == 0
    masks = torch.nn.functional.one_hot(images.argmax(1), 3).permute(0, 3, 1, 2)
    classes = SURE * torch.eye(3, 4).expand(len(images), -1, -1)
    return Segmentation(classes, (masks.float() - 0.5) * SURE)


def photo(height: int = 22, width: int = 30) -> Tensor:
    image = torch.zeros(1, 3, height, width)
    image[0, 0, :, : width // 2] = 1
    image[0, 1, : height // 2, width // 2 :] = 1
    image[0, 2, height // 2 :, width // 2 :] = 1
    return image


def view(**options: object) -> View:
    return View(by_colour, 4, (12, 16), ViewConfig(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flip": True},
        {"mode": "slide"},
        {"mode": "slide", "stride_share": 0.3, "flip": True},
        {"scales": [0.5, 1.0, 2.0], "flip": True},
    ],
)
def test_every_view_agrees(options: dict[str, object]) -> None:
    scores = photo_scores(view(**options), photo())
    assert scores.shape == (1, 3, 22, 30)
    wrong = scores.argmax(1) != photo().argmax(1)
    assert not wrong[:, :9, :13].any()
    assert int(wrong.sum()) <= (0 if "scales" not in options else 30)


def test_scores_are_the_products_of_classes_and_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    output = Segmentation(
        torch.randn(2, 5, 4, generator=generator), torch.randn(2, 5, 8, 8, generator=generator)
    )
    fixed = View(lambda images: output, 8, (8, 8), ViewConfig())
    scores = photo_scores(fixed, torch.zeros(2, 3, 8, 8))
    for b in range(2):
        for c in range(3):
            expected = sum(
                output.class_logits[b, q].softmax(0)[c] * output.mask_logits[b, q].sigmoid()
                for q in range(5)
            )
            torch.testing.assert_close(scores[b, c], expected)


def test_large_photos_are_summed_query_by_query() -> None:
    output, size = by_colour(photo(24, 32)), (24, 32)
    straight = semantic_scores(output, size, size)
    one_by_one = semantic_scores(output, size, size, largest=100)
    torch.testing.assert_close(one_by_one, straight)
    enlarged = class_map(straight[0], (44, 60))
    assert torch.equal(class_map(straight[0], (44, 60), largest=100), enlarged)


@pytest.mark.parametrize("size", [(5, 5), (12, 16), (13, 40), (30, 31)])
def test_windows_cover_everything(size: tuple[int, int]) -> None:
    counts = torch.zeros(size)
    for rows, columns in windows(size, (12, 16), 0.67):
        counts[rows, columns] += 1
        assert counts[rows, columns].shape == (min(12, size[0]), min(16, size[1]))
    assert counts.min() >= 1


def test_fusion_by_hand() -> None:
    """Two stuff queries merge; a weak, a no-object and a covered query are left out."""
    rows = torch.full((6, 1, 10), -9.0)
    for query, (start, stop, strength) in enumerate(
        [(0, 4, 9), (4, 6, 9), (6, 8, 9), (8, 10, 9), (0, 4, 2), (0, 10, 9)]
    ):
        rows[query, :, start:stop] = float(strength)
    classes = torch.full((6, 4), -SURE)
    for query, label in enumerate([0, 2, 2, 1, 0, 3]):
        classes[query, label] = SURE
    classes[3, 0] = SURE - 0.5  # class 1 with a probability of 0.62
    truth = fuse(classes, rows, (0, 1), PanopticRules())
    assert truth.segment_map.tolist() == [[0] * 4 + [1] * 4 + [-1] * 2]
    assert truth.segment_classes.tolist() == [0, 2]
    lenient = fuse(classes, rows, (0, 1), PanopticRules(object_score=0.5))
    assert lenient.segment_classes.tolist() == [0, 2, 1]
    assert fuse(classes[5:], rows[5:], (0,), PanopticRules()).segment_map.unique().tolist() == [-1]


def test_overlap_counts_all_pixels_that_a_query_won() -> None:
    """As in Mask2Former: also those where its own mask is below a half and no other is above."""
    masks = torch.full((2, 1, 10), -9.0)
    masks[0, 0, :4], masks[0, 0, 4:8] = 9.0, -0.1
    masks[1, 0, :2], masks[1, 0, 8:] = 12.0, 9.0
    classes = SURE * torch.eye(2, 3)
    truth = fuse(classes, masks, (0, 1), PanopticRules())
    # Query 0 won two pixels of its four, but also the four that nobody's mask holds.
    numbers = dict(zip(truth.segment_classes.tolist(), range(2), strict=True))
    first, second = numbers[0], numbers[1]
    expected = [second] * 2 + [first] * 2 + [-1] * 4 + [second] * 2
    assert truth.segment_map.tolist() == [expected]


def test_panoptic_of_photos() -> None:
    images = torch.cat([photo(), photo().flip(-1)])
    for size in ((22, 30), (44, 60)):
        truths = panoptic_truths(view(), images, [size, size], (1,))
        assert truths[0].segment_map.shape == size
        expected = photo().argmax(1)[0]
        if size == (22, 30):
            assert torch.equal(truths[0].class_map(), expected)
            assert torch.equal(truths[1].class_map(), expected.flip(-1))
    with pytest.raises(ValueError, match=r"view\.mode=whole"):
        panoptic_truths(view(flip=True), images, [(22, 30)] * 2, (1,))


def test_masks_of_huge_photos_are_fused_small() -> None:
    (truth,) = panoptic_truths(view(), photo(), [(44, 60)], (1,), largest=10)
    expected = photo().argmax(1)[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(truth.class_map(), expected)


def test_instances() -> None:
    output = by_colour(photo(24, 32))
    found = instance_masks(output.class_logits[0], output.mask_logits[0], (0, 2))
    best = [i for i in found if i.score > 0.5]
    assert sorted(i.label for i in best) == [0, 2]
    assert torch.equal(next(i for i in best if i.label == 0).mask, photo(24, 32).argmax(1)[0] == 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "half"}, "view.mode"),
        ({"stride_share": 0}, "stride_share"),
        ({"scales": []}, "scales"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"panoptic\.overlap"):
        PanopticRules(overlap=2)
