"""Composed scenes have exact masks, and what is held out is never seen in training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikesight.data import DataConfig, DataError
from spikesight.data.photos.digits import read_digits
from spikesight.data.segmentation import SceneConfig, read_scenes
from spikesight.data.segmentation.composition import CutOut, compose
from spikesight.data.segmentation.cut_out_scenes import CutOutScenes
from spikesight.data.segmentation.digit_scenes import BACKGROUND, DigitScenes
from spikesight.data.sources import ArraySource
from spikesight.data.splits import read_splits

from . import layouts


def square(side: int, label: int, alpha: float = 1.0) -> CutOut:
    return CutOut(
        np.full((side, side, 3), 0.5, np.float32), np.full((side, side), alpha, np.float32), label
    )


def test_later_cut_outs_cover_earlier_ones() -> None:
    ground = np.zeros((20, 20, 3), np.float32)
    scene = compose(ground, 9, [(square(8, 1), 0, 0), (square(8, 2), 4, 4)], "scene")
    truth = scene.truth
    assert truth.segment_classes.tolist() == [9, 1, 2]
    assert [int((truth.segment_map == n).sum()) for n in range(3)] == [400 - 112, 48, 64]
    assert (scene.image[:, truth.segment_map > 0] == 128).all()
    assert (scene.image[:, truth.segment_map == 0] == 0).all()


def test_hidden_and_faint_cut_outs_are_not_pasted() -> None:
    ground = np.zeros((20, 20, 3), np.float32)
    scene = compose(ground, 9, [(square(8, 1), 5, 5), (square(10, 2), 4, 4)], "scene")
    assert scene.truth.segment_classes.tolist() == [9, 2]
    faint = compose(ground, 9, [(square(8, 1, alpha=0.4), 0, 0)], "scene")
    assert faint.truth.segment_classes.tolist() == [9]
    assert int(faint.image.max()) == 0


@pytest.mark.parametrize("background", ["dark", "plain", "textured"])
def test_digit_scenes(background: str) -> None:
    config = SceneConfig(crop_size=(96, 128), background=background, scenes=5, validation_scenes=4)  # type: ignore[arg-type]
    train, val = read_scenes(config, "train"), read_scenes(config, "val")
    assert (len(train), len(val)) == (5, 4)
    labels = set()
    for index in range(5):
        scene = train.read(index)
        again = read_scenes(config, "train").read(index)
        assert torch.equal(scene.image, again.image)
        assert torch.equal(scene.truth.segment_map, again.truth.segment_map)
        assert scene.image.shape == (3, 96, 128)
        truth = scene.truth
        assert int(truth.segment_classes[0]) == BACKGROUND
        assert truth.segment_map.unique().tolist() == list(range(len(truth.segment_classes)))
        labels |= set(truth.segment_classes[1:].tolist())
        ground = scene.image[:, truth.segment_map == 0]
        if background != "textured":
            assert len(ground.unique(dim=1).T) < 5000
        if background == "dark":
            darkest = scene.image[:, truth.segment_map > 0].float().mean(1)
            assert (darkest > ground.median(1).values).all()
    assert len(labels) > 4
    assert not torch.equal(train.read(0).image, val.read(0).image)


def test_number_and_size_of_digits_can_be_chosen() -> None:
    config = SceneConfig(
        crop_size=(64, 64), background="plain", objects=(1, 1), object_size=(0.5, 0.5), scenes=4
    )
    train = read_scenes(config, "train")
    for index in range(4):
        truth = train.read(index).truth
        assert len(truth.segment_classes) == 2
        rows, columns = (truth.segment_map == 1).nonzero().T
        assert 16 <= max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) < 32


def test_held_out_digits_are_unseen() -> None:
    train, val = (DigitScenes(part, 1, (64, 64)).usable_digits() for part in ("train", "val"))
    assert not set(train.tolist()) & set(val.tolist())
    assert len(train) + len(val) == 1797
    assert set(read_digits().labels[val].tolist()) == set(range(10))


def test_painted_digits_hold_out_what_scenes_hold_out() -> None:
    config = DataConfig(format="painted_digits", validation_fraction=0)
    train, validation, test = read_splits(config)
    assert test is None
    assert (len(train.labels), len(validation.labels)) == (4 * 1438, 4 * 359)
    assert isinstance(train, ArraySource)
    held_out = DigitScenes("val", 1, (64, 64)).usable_digits()
    assert isinstance(validation, ArraySource)
    assert torch.equal(validation.labels[::4], read_digits().labels[held_out])
    again = read_splits(config)[0]
    assert isinstance(again, ArraySource)
    assert torch.equal(train.images, again.images)
    assert train.images.shape[1:] == (3, 32, 32)
    assert train.images[0].float().std() > 20


def cut_outs(path: Path, count: int = 10) -> None:
    for number in range(count):
        alpha = np.zeros((30, 40), np.uint8)
        alpha[5:20, 10:35] = 255
        colour = np.full((30, 40, 3), 20 * number, np.uint8)
        layouts.photo(path / "photos" / f"{number}.png", (50, 70), seed=number)
        file = path / "stamps" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.dstack([colour, alpha])).save(file)
    Image.new("RGB", (9, 9)).save(path / "stamps" / "no_alpha.png")


def test_cut_out_scenes(tmp_path: Path) -> None:
    cut_outs(tmp_path)
    config = SceneConfig(
        format="cut_outs",
        path=str(tmp_path / "stamps"),
        photos=str(tmp_path / "photos"),
        crop_size=(64, 64),
        scenes=6,
    )
    train, val = read_scenes(config, "train"), read_scenes(config, "val")
    assert isinstance(train, CutOutScenes)
    assert isinstance(val, CutOutScenes)
    for name in ("cut_outs", "photos"):
        seen, held_out = set(getattr(train, name)), set(getattr(val, name))
        assert (len(seen), len(held_out)) == (8, 2)
        assert not seen & held_out
    found = 0
    for index in range(6):
        scene = train.read(index)
        for number, label in enumerate(scene.truth.segment_classes.tolist()):
            mask = scene.truth.segment_map == number
            assert label == (1 if number == 0 else 0)
            assert mask.any()
            if number:
                colours = scene.image[:, mask].unique(dim=1)
                # One grey, but for a pixel of antialiasing around it.
                assert int(colours.float().std(0).median()) <= 60
                found += 1
    assert found > 4


def test_missing_cut_outs_name_the_package(tmp_path: Path) -> None:
    options = {"format": "cut_outs", "photos": str(tmp_path)}
    config = SceneConfig(path=str(tmp_path / "none"), **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="tuxpaint-stamps-default"):
        read_scenes(config, "train")
    (tmp_path / "some").mkdir()
    with pytest.raises(DataError, match="0 files with what is needed are too few"):
        read_scenes(SceneConfig(path=str(tmp_path / "some"), **options), "train")  # type: ignore[arg-type]
