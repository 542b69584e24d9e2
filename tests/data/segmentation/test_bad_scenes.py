"""A bad photo or mask is a result, or an error that names the file and the remedy."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikesight.data import CorruptImageError, DataError
from spikesight.data.segmentation import SceneConfig, build_scene_loaders, read_scenes
from spikesight.data.segmentation.scene import Scene

from . import layouts


def first(path: Path) -> Scene:
    config = SceneConfig(format="folder", path=str(path), class_names=["a", "b"], ignore_label=255)
    return read_scenes(config, "train").read(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return layouts.folder(tmp_path)


@pytest.fixture
def photo(folder: Path) -> Path:
    return folder / "train" / "images" / "0.jpg"


@pytest.fixture
def mask(folder: Path) -> Path:
    return folder / "train" / "labels" / "0.png"


def test_mask_of_another_size(folder: Path, mask: Path) -> None:
    layouts.mask(mask, layouts.stripes(0, 1, size=(10, 12)))
    with pytest.raises(DataError, match=r"0\.png: the mask has 12x10 pixels but the photo 30x20"):
        first(folder)


def test_unknown_label(folder: Path, mask: Path) -> None:
    layouts.mask(mask, layouts.stripes(0, 1, 7))
    with pytest.raises(DataError, match=r"0\.png: label id 7 at row 0, column 20 .*ignore_label"):
        first(folder)


def test_missing_mask(folder: Path, mask: Path) -> None:
    mask.unlink()
    with pytest.raises(DataError, match=r"0\.jpg: has no mask in .*labels"):
        first(folder)


def test_16_bit_mask(folder: Path, mask: Path) -> None:
    values = layouts.stripes(0, 1, 255).astype(np.uint16)
    Image.fromarray(values).save(mask)
    assert first(folder).truth.class_map()[0, [0, 15, 29]].tolist() == [0, 1, -1]
    Image.fromarray(values * 256).save(mask)
    with pytest.raises(DataError, match=r"0\.png: label id 256"):
        first(folder)


def test_palette_mask(folder: Path, mask: Path) -> None:
    layouts.mask(mask, layouts.stripes(0, 1, 255), palette=True)
    assert first(folder).truth.class_map()[0, [0, 15, 29]].tolist() == [0, 1, -1]


def test_colour_mask_without_explanation(folder: Path, mask: Path) -> None:
    layouts.photo(mask)
    with pytest.raises(DataError, match=r"0\.png: .*label_colors\.txt"):
        first(folder)


def test_grey_photo(folder: Path, photo: Path) -> None:
    Image.effect_noise((30, 20), 80).save(photo)
    image = first(folder).image
    assert image.shape == (3, 20, 30)
    assert (image[0] == image[2]).all()


def test_photo_with_alpha(folder: Path, photo: Path) -> None:
    photo.unlink()
    Image.new("RGBA", (30, 20), (1, 2, 3, 255)).save(photo.with_suffix(".png"))
    assert first(folder).image[:, 0, 0].tolist() == [1, 2, 3]
    Image.new("RGBA", (30, 20), (1, 2, 3, 90)).save(photo.with_suffix(".png"))
    with pytest.raises(DataError, match=r"0\.png: has transparent pixels.*flatten"):
        first(folder)


def test_corrupt_files_are_named_or_skipped(folder: Path, photo: Path, mask: Path) -> None:
    content = mask.read_bytes()
    mask.write_bytes(content[:40])
    with pytest.raises(CorruptImageError, match=r"0\.png: not a readable mask.*on-corrupt skip"):
        first(folder)
    options = {"format": "folder", "path": str(folder), "class_names": ["a", "b"]}
    config = SceneConfig(
        **options,
        ignore_label=255,
        crop_size=(16, 16),
        workers=0,
        on_corrupt="skip",  # type: ignore[arg-type]
    )
    loaders = build_scene_loaders(config, 3, 0, panoptic=False)
    loaders.train.set_epoch(0)
    ((images, truths),) = list(loaders.train)
    assert len(images) == len(truths) == 2
    assert list(loaders.train.skipped) == [str(photo)]
    mask.write_bytes(content)
    photo.write_bytes(b"no photo")
    with pytest.raises(CorruptImageError, match=r"0\.jpg: not a readable image"):
        first(folder)


@pytest.mark.parametrize("size", [(1, 1), (3000, 4000)])
def test_tiny_and_huge_photos(folder: Path, photo: Path, mask: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", (size[1], size[0]), (9, 9, 9)).save(photo)
    Image.fromarray(np.ones(size, np.uint8)).save(mask)
    config = SceneConfig(
        format="folder",
        path=str(folder),
        class_names=["a", "b"],
        ignore_label=255,
        crop_size=(32, 48),
        base_short_side=40,
        scale_range=(0.5, 2.0),
        largest_category_share=0.75,
        workers=0,
    )
    loaders = build_scene_loaders(config, 3, 0, panoptic=False)
    loaders.train.set_epoch(0)
    ((images, truths),) = list(loaders.train)
    assert images.shape == (3, 3, 32, 48)
    assert all(truth.segment_map.shape == (32, 48) for truth in truths)
