"""Photo and mask are moved together, as a pure function of seed, epoch and number."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from spikesight.data import DataError
from spikesight.data.segmentation import (
    Scene,
    SceneAugmentation,
    SceneConfig,
    ScenePreprocessing,
    build_scene_evaluation_loader,
    build_scene_loaders,
    sample_crop,
    semantic_truth,
)
from spikesight.data.segmentation.scene import table_of

from . import layouts

PLAIN = SceneAugmentation((24, 32), None, (1.0, 1.0), False, 1.0, False, False, (1, 2, 3), 0)


def blocks(height: int = 60, width: int = 80) -> Scene:
    """A photo whose red channel is the class of its 20 pixel block."""
    rows, columns = torch.arange(height) // 20, torch.arange(width) // 20
    classes = (rows[:, None] * 4 + columns[None]).int()
    image = torch.stack([classes * 10, torch.zeros_like(classes), 255 - classes]).byte()
    return Scene(image, semantic_truth(classes, 12), "blocks")


def agreement(image: torch.Tensor, segment_map: torch.Tensor) -> float:
    """Share of the known pixels whose colour says their class."""
    known = segment_map >= 0
    guessed = (image[0].float() / 10).round()
    return float((guessed == segment_map)[known].float().mean())


@given(
    short=st.sampled_from([None, 30, 90]),
    low=st.floats(0.3, 1.0),
    jitter=st.booleans(),
    flip=st.booleans(),
    share=st.sampled_from([0.4, 1.0]),
    index=st.integers(0, 100),
)
def test_photo_and_mask_stay_together(
    short: int | None, low: float, jitter: bool, flip: bool, share: float, index: int
) -> None:
    augment = replace(
        PLAIN,
        base_short_side=short,
        scale_range=(low, 2.0),
        large_scale_jitter=jitter,
        flip=flip,
        largest_category_share=share,
    )
    image, truth = augment(blocks(), 3, index)
    assert image.shape == (3, 24, 32)
    assert truth.segment_map.shape == (24, 32)
    assert image.dtype == torch.uint8
    assert truth.segment_map.dtype == torch.int32
    assert agreement(image, truth.segment_map) > 0.6
    again, same = augment(blocks(), 3, index)
    assert torch.equal(image, again)
    assert torch.equal(truth.segment_map, same.segment_map)


def test_without_scaling_pixels_are_exact() -> None:
    images = []
    for index in range(20):
        image, truth = replace(PLAIN, flip=True)(blocks(), 0, index)
        assert agreement(image, truth.segment_map) == 1.0
        images.append(image)
    assert len({tuple(image.flatten().tolist()) for image in images}) > 15
    other, _ = replace(PLAIN, flip=True)(blocks(), 1, 0)
    assert not torch.equal(other, images[0])


def test_small_photos_are_padded_with_void() -> None:
    image, truth = PLAIN(blocks(20, 20), 0, 0)
    assert (truth.segment_map[20:] == -1).all()
    assert (truth.segment_map[:, 20:] == -1).all()
    assert image[:, 23, 31].tolist() == [1, 2, 3]
    assert (truth.segment_map[:20, :20] == 0).all()


def test_crops_of_one_class_are_drawn_again() -> None:
    classes = torch.zeros(24, 400, dtype=torch.int32)
    classes[:, 340:] = 1
    image = torch.zeros(3, 24, 400, dtype=torch.uint8)
    scene = Scene(image, semantic_truth(classes, 2), "wide")

    def mixed(share: float) -> int:
        augment = replace(PLAIN, largest_category_share=share)
        return sum(len(augment(scene, 0, i)[1].segment_map.unique()) > 1 for i in range(60))

    assert mixed(0.75) > 2 * mixed(1.0)


def test_colours_change_and_masks_do_not() -> None:
    augment = replace(PLAIN, photometric_distortion=True)
    changed = 0
    for index in range(10):
        image, truth = augment(blocks(), 0, index)
        plain, same = PLAIN(blocks(), 0, index)
        assert torch.equal(truth.segment_map, same.segment_map)
        changed += not torch.equal(image, plain)
    assert changed > 5


def test_evaluation_size() -> None:
    preprocessing = ScenePreprocessing((0.5,) * 3, (0.2,) * 3, (8, 8), (40, 100), table_of(("a",)))
    for size, expected in (((80, 100), (40, 50)), ((20, 100), (20, 100)), ((300, 60), (100, 20))):
        image = torch.zeros(3, *size, dtype=torch.uint8)
        assert preprocessing.fit(image).shape[1:] == expected
    assert ScenePreprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    assert sample_crop(torch.zeros(3, 9, 50, dtype=torch.uint8), (20, 30)).shape == (3, 20, 30)


def test_loaders_are_reproducible_and_resume(tmp_path: Path) -> None:
    options: dict[str, Any] = {"class_names": ["a", "b"], "ignore_label": 255}
    config = SceneConfig(
        format="folder", path=str(layouts.folder(tmp_path, count=6)), crop_size=(16, 16), **options
    )

    def batches(workers: int, start: int = 0) -> list[torch.Tensor]:
        loaders = build_scene_loaders(replace(config, workers=workers), 2, 5, panoptic=False)
        loaders.train.set_epoch(1, start)
        return [images for images, _ in loaders.train]

    straight = batches(0)
    assert len(straight) == 3
    for other in (batches(2), straight[:1] + batches(0, 1)):
        assert all(torch.equal(a, b) for a, b in zip(straight, other, strict=True))
    loader = build_scene_loaders(config, 2, 5, panoptic=False).validation
    assert [len(truths) for _, truths in loader] == [2, 2, 2]


def test_loaders_refuse_what_does_not_fit(tmp_path: Path) -> None:
    path = str(layouts.folder(tmp_path))
    config = SceneConfig(format="folder", path=path, class_names=["a", "b"], ignore_label=255)
    with pytest.raises(DataError, match="task=semantic"):
        build_scene_loaders(config, 2, 0, panoptic=True)
    with pytest.raises(DataError, match=r"do not fill 4 batch\(es\).*smaller accumulation"):
        build_scene_loaders(config, 4, 0, panoptic=False, accumulation=4)
    assert build_scene_loaders(config, 4, 0, panoptic=False).train.batch_size == 3
    preprocessing = build_scene_loaders(config, 2, 0, panoptic=False).preprocessing
    other = replace(config, class_names=["a", "c"])
    with pytest.raises(DataError, match="its 2 classes are not the model's"):
        build_scene_evaluation_loader(other, 2, preprocessing, panoptic=False)
    with pytest.raises(DataError, match="no such folder"):
        build_scene_evaluation_loader(config, 2, preprocessing, panoptic=False, split="test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "voc"}, "needs scenes.path"),
        ({"format": "cut_outs", "path": "x"}, "needs scenes.photos"),
        ({"crop_size": (0, 8)}, "scenes.crop_size"),
        ({"scale_range": (2.0, 1.0)}, "scenes.scale_range"),
        ({"largest_category_share": 0.0}, "scenes.largest_category_share"),
        ({"base_short_side": 0}, "scenes.base_short_side"),
        ({"objects": (3, 2)}, "scenes.objects"),
        ({"object_size": (0.5, 1.5)}, "scenes.object_size"),
        ({"scenes": 0}, "scenes.scenes is 0"),
        ({"workers": -1}, "scenes.workers"),
        ({"std": (0.0, 1.0, 1.0)}, "scenes.std"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SceneConfig(**options)
