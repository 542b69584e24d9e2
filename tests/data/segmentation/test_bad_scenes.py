"""A bad photo or mask is a result, or an error that names the file and the remedy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spikesight.data import CorruptImageError, DataError
from spikesight.data.segmentation import SceneConfig, build_scene_loaders, read_scenes
from spikesight.data.segmentation.files import read_colour_mask
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


def test_palette_mask_without_a_palette(tmp_path: Path) -> None:
    path = layouts.mask(tmp_path / "mask.png", layouts.stripes(0, 1), palette=True)
    content = path.read_bytes()
    at = content.index(b"PLTE") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    path.write_bytes(content[:at] + content[at + 12 + length :])
    with pytest.raises(CorruptImageError, match=r"mask\.png: "):
        read_colour_mask(path)


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


@pytest.mark.parametrize("size", [(1, 1), (6000, 8000)])
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


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_photo_with_a_palette_or_few_greys(mode: str, folder: Path, photo: Path) -> None:
    photo.unlink()
    Image.effect_noise((30, 20), 80).convert(mode).save(photo.with_suffix(".png"))
    assert first(folder).image.shape == (3, 20, 30)


def test_16_bit_photo(folder: Path, photo: Path) -> None:
    photo.unlink()
    Image.fromarray(np.full((20, 30), 40_000, np.uint16)).save(photo.with_suffix(".png"))
    with pytest.raises(DataError, match=r"0\.png: .*convert the file to 8-bit"):
        first(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": (7, 20)}, "crop_size is .*; pass two numbers from 8 up"),
        ({"crop_size": (10**9, 10**9)}, "crop_size is .* are more than"),
        ({"objects": (1, 10**9)}, "objects is .*; pass two numbers from 1 to 1000"),
        ({"scenes": 2**70}, "scenes is .*; pass 1 to 1,000,000,000"),
        ({"std": (1e-300, 0.5, 0.5)}, "std is .*; pass values from 1e-06 to 1"),
    ],
)
def test_options_that_no_scene_has(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SceneConfig(format="digit_scenes", **options)
    with pytest.raises(DataError, match=message):
        SceneConfig(format="cut_outs", path="x", photos="y", **options)


def test_options_of_another_format() -> None:
    with pytest.raises(DataError, match=r"scenes\.ignore_label is for scenes\.format 'folder'"):
        SceneConfig(format="camvid", path="x", ignore_label=12)
    with pytest.raises(DataError, match=r"scenes\.class_names is for"):
        SceneConfig(format="voc", path="x", class_names=["a"])
    for label in (-1, 70_000):
        with pytest.raises(DataError, match=r"ignore_label is .*; pass a number from 0 to 65535"):
            SceneConfig(format="folder", path="x", class_names=["a"], ignore_label=label)


def test_unknown_label_of_a_public_set(tmp_path: Path) -> None:
    layouts.ade20k(tmp_path)
    layouts.mask(tmp_path / "annotations" / "training" / "ADE_train_1.png", layouts.stripes(0, 151))
    source = read_scenes(SceneConfig(format="ade20k", path=str(tmp_path)), "train")
    with pytest.raises(DataError, match=r"label id 151 .*; correct the mask$"):
        source.read(0)


@pytest.mark.parametrize("lost", ["file_name", "segments_info"])
def test_damaged_panoptic_json(lost: str, tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    file = tmp_path / "annotations" / "panoptic_val2017.json"
    content = json.loads(file.read_text())
    del content["annotations"][0][lost]
    file.write_text(json.dumps(content))
    config = SceneConfig(format="coco_panoptic", path=str(tmp_path))
    with pytest.raises(DataError, match=rf"panoptic_val2017\.json: .*{lost}: is missing"):
        read_scenes(config, "val")
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=r"panoptic_val2017\.json: is not text in UTF-8"):
        read_scenes(config, "val")


def test_panoptic_png_of_16_bits(tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    file = tmp_path / "annotations" / "panoptic_val2017" / "000000000009.png"
    Image.fromarray(np.full(layouts.SIZE, 7, np.uint16)).save(file)
    source = read_scenes(SceneConfig(format="coco_panoptic", path=str(tmp_path)), "val")
    with pytest.raises(DataError, match=r"000000000009\.png: a mask of type .*save it as RGB"):
        source.read(0)


def test_unreadable_cut_out(tmp_path: Path) -> None:
    for number in range(6):
        layouts.photo(tmp_path / "photos" / f"{number}.png")
        cut_out = Image.new("RGBA", (9, 9), (200, 9, 9, 255))
        (tmp_path / "stamps").mkdir(exist_ok=True)
        cut_out.save(tmp_path / "stamps" / f"{number}.png")
    (tmp_path / "stamps" / "bad.png").write_bytes(b"no picture")
    options = {"path": str(tmp_path / "stamps"), "photos": str(tmp_path / "photos")}
    config = SceneConfig(format="cut_outs", **options)  # type: ignore[arg-type]
    with pytest.raises(CorruptImageError, match=r"bad\.png: not a readable PNG.*on-corrupt skip"):
        read_scenes(config, "train")
    lenient = SceneConfig(format="cut_outs", on_corrupt="skip", crop_size=(32, 32), **options)  # type: ignore[arg-type]
    assert read_scenes(lenient, "train").read(0).image.shape == (3, 32, 32)
