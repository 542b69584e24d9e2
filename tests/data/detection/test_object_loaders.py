"""Augmentation, letterboxing and batches of photos with objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.data import DataError
from spikesight.data.detection import (
    AnnotatedImage,
    Fit,
    ObjectAugmentation,
    ObjectConfig,
    ObjectPreprocessing,
    build_object_evaluation_loader,
    build_object_loaders,
)
from spikesight.data.segmentation import ClassTable
from spikesight.objects import Detections, Objects
from tests.data.detection import layouts


def augmentation(**changes: Any) -> ObjectAugmentation:
    fields: dict[str, Any] = {
        "image_size": (48, 64),
        "scale_range": (1.0, 1.0),
        "stretch": 0.0,
        "least_visible": 0.3,
        "flip": False,
        "vertical_flip": False,
        "quarter_turns": False,
        "photometric_distortion": False,
        "mosaic": 0.0,
        "fill": (9, 9, 9),
        "seed": 0,
    }
    return ObjectAugmentation(**{**fields, **changes})


def painted(size: tuple[int, int] = (60, 80)) -> AnnotatedImage:
    """Bright rectangles of different colours on black, with masks."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    boxes = [(4, 6, 24, 30), (40, 10, 70, 26), (30, 40, 44, 58)]
    masks = torch.zeros(3, *size, dtype=torch.bool)
    for number, (left, top, right, bottom) in enumerate(boxes):
        image[number, top:bottom, left:right] = 255
        masks[number, top:bottom, left:right] = True
    return AnnotatedImage(
        image, Objects(torch.tensor(boxes).float(), torch.arange(3), torch.zeros(3).bool(), masks)
    )


def without_masks(read: AnnotatedImage) -> AnnotatedImage:
    objects = read.objects
    return AnnotatedImage(read.image, Objects(objects.boxes, objects.classes, objects.crowd))


ALL = {
    "scale_range": (0.6, 1.6),
    "stretch": 0.2,
    "flip": True,
    "vertical_flip": True,
    "quarter_turns": True,
}


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_and_masks_stay_on_their_objects(mosaic: float) -> None:
    augment = augmentation(mosaic=mosaic, **ALL)
    kept = compared = 0
    for index in range(40):
        count = 1 + len(augment.partners(0, index, 5))
        assert count == (4 if mosaic else 1)
        image, objects = augment([painted()] * count, 0, index)
        bare_image, bare = augment([without_masks(painted())] * count, 0, index)
        assert image.shape == (3, 48, 64)
        assert torch.equal(image, bare_image)
        assert objects.masks is not None
        for place, label in enumerate(objects.classes.tolist()):
            left, top, right, bottom = objects.boxes[place].round().int().tolist()
            mask = objects.masks[place]
            inside = torch.zeros(48, 64, dtype=torch.bool)
            inside[top:bottom, left:right] = True
            assert torch.equal(mask, inside)  # rectangles fill their boxes
            # The brightest channel under a mask is that of its object, but for blurred edges.
            core = image[:, top:bottom, left:right].float().mean((1, 2))
            assert int(core.argmax()) == label
            assert core[label] > 150
        # Boxes alone lie where masks do, to the rounding of the mask's pixels, which may decide
        # whether enough of an object is visible.
        if torch.equal(bare.classes, objects.classes):
            compared += 1
            assert torch.allclose(bare.boxes, objects.boxes, atol=1.0)
        kept += len(objects)
    assert kept > 60
    assert compared > 20


def test_augmentation_is_a_function_of_seed_epoch_and_number() -> None:
    augment = augmentation(photometric_distortion=True, **ALL)
    first = augment([painted()], 2, 7)
    torch.manual_seed(5)
    again = augment([painted()], 2, 7)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].boxes, again[1].boxes)
    for other in (augment([painted()], 3, 7), augment([painted()], 2, 8)):
        assert not torch.equal(first[0], other[0])


def test_objects_that_lose_most_of_themselves_are_left_out() -> None:
    image = torch.zeros(3, 50, 100, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0, 100, 50]])
    wide = AnnotatedImage(image, Objects(boxes, torch.zeros(1).long(), torch.zeros(1).bool()))
    options: dict[str, Any] = {"image_size": (50, 50), "scale_range": (4.0, 4.0)}
    # A quarter of the width in both directions is shown: 1/8 of the object.
    assert len(augmentation(**options, least_visible=0.2)([wide], 0, 0)[1]) == 0
    found = augmentation(**options, least_visible=0.1)([wide], 0, 0)[1]
    assert found.boxes.tolist() == [[0, 0, 50, 50]]


def preprocessing(size: tuple[int, int]) -> ObjectPreprocessing:
    table = ClassTable(("a",), ((1, 2, 3),), (0,))
    return ObjectPreprocessing((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), size, table)


def test_a_photo_is_letterboxed_and_detections_come_back() -> None:
    steps = preprocessing((30, 30))
    assert ObjectPreprocessing.from_dict(steps.to_dict()) == steps
    photo = torch.full((3, 20, 40), 200, dtype=torch.uint8)
    image, fit = steps.fit(photo)
    assert fit == Fit((20, 40), (15, 30))
    assert (image[:, :15] == 200).all()
    assert image[:, 15:].amax((1, 2)).tolist() == list(steps.fill)
    masks = torch.zeros(3, 30, 30, dtype=torch.bool)
    masks[0, :15, :15] = True
    found = Detections(
        torch.tensor([[0, 0, 15, 15], [20, 10, 40, 30], [3, 16, 9, 20.0]]),
        torch.zeros(3).long(),
        torch.tensor([0.9, 0.5, 0.1]),
        masks,
    )
    back = fit.restore(found)
    assert torch.allclose(
        back.boxes, torch.tensor([[0, 0, 20, 20], [20 * 4 / 3, 40 / 3, 40, 20.0]])
    )
    assert back.masks is not None
    assert back.masks.shape == (2, 20, 40)
    assert back.masks[0, :, :20].all()
    assert not back.masks[0, :, 20:].any()


def test_loaders_give_batches_of_both_kinds(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    options: dict[str, Any] = {
        "format": "voc",
        "path": str(tmp_path),
        "image_size": (32, 32),
        "workers": 0,
        "mosaic": 0.5,
        "flip": True,
    }
    batches = []
    for in_memory in (False, True):
        config = ObjectConfig(**options, in_memory=in_memory)
        loaders = build_object_loaders(config, batch_size=3, seed=1)
        assert loaders.classes == list(layouts.NAMES)
        for _ in range(2):
            (batch,) = loaders.train
            batches.append(batch)
    for images, truths in batches:
        assert images.shape == (3, 3, 32, 32)
        assert images.dtype == torch.uint8
        assert [len(t) for t in truths] == [len(t) for t in batches[0][1]]
    # Read or kept, the second time an epoch is the same.
    assert torch.equal(batches[0][0], batches[1][0])
    assert torch.equal(batches[2][0], batches[3][0])
    ((images, fitted),) = loaders.validation
    assert images.shape == (2, 3, 32, 32)
    boxes = {tuple(box) for objects, _ in fitted for box in objects.boxes.tolist()}
    assert boxes == {(0, 0, 60, 40), (7, 7, 17, 17)}  # in pixels of the photo
    assert {fit for _, fit in fitted} == {Fit((40, 60), (21, 32))}
    again = build_object_evaluation_loader(config, 2, loaders.preprocessing)
    assert torch.equal(next(iter(again))[0], images)
    with pytest.raises(DataError, match="boxes but no masks"):
        build_object_loaders(ObjectConfig(**options), 2, 0, masks=True)


def test_kept_masks_are_those_that_were_read() -> None:
    batches = []
    for in_memory in (False, True):
        config = ObjectConfig(image_size=(45, 51), scenes=2, in_memory=in_memory)
        loaders = build_object_loaders(config, batch_size=2, seed=0, masks=True)
        batches += [next(iter(loaders.train)), next(iter(loaders.train))]
    for _, truths in batches[1:]:
        for truth, first in zip(truths, batches[0][1], strict=True):
            assert truth.masks is not None
            assert first.masks is not None
            assert torch.equal(truth.masks, first.masks)


def test_a_corrupt_photo_is_skipped_or_stops(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(b"nothing")
    options: dict[str, Any] = {"format": "voc", "path": str(tmp_path), "workers": 0}
    loaders = build_object_loaders(ObjectConfig(**options, on_corrupt="skip"), 3, 0)
    ((images, truths),) = loaders.train
    assert len(images) == len(truths) == 2
    with pytest.raises(DataError, match=r"a\.jpg"):
        next(iter(build_object_loaders(ObjectConfig(**options), 3, 0).train))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "voc"}, r"needs objects\.path"),
        ({"format": "unknown"}, r"one of coco, voc, .*ss\.register_objects"),
        ({"scale_range": (2.0, 1.0)}, "the smaller one first"),
        ({"class_names": ["a"]}, "has the ten digits"),
        ({"mosaic": 1.5}, r"objects\.mosaic is 1\.5"),
        ({"format": "voc", "path": "x", "validation_annotations": "y"}, "is for 'coco'"),
        ({"image_size": (4, 4)}, "no digit is smaller"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ObjectConfig(**options)
