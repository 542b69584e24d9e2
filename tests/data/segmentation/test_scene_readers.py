"""Every published layout is read as its definition says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.data import DataError
from spikesight.data.segmentation import (
    PanopticWriter,
    SceneConfig,
    read_panoptic_json,
    read_scenes,
)
from spikesight.data.segmentation.class_names import ADE20K_NAMES, CITYSCAPES_IDS, VOC_NAMES
from spikesight.data.segmentation.files import list_photos
from spikesight.data.segmentation.scene import voc_colour

from . import layouts

SHARED = Path(__file__).parents[4] / "shared" / "data"
LAYOUTS: list[tuple[str, Callable[[Path], Path], dict[str, Any], list[int], int]] = [
    ("folder", layouts.folder, {"class_names": ["a", "b"], "ignore_label": 255}, [0, 1, -1], 2),
    ("ade20k", layouts.ade20k, {}, [-1, 0, 149], 150),
    ("cityscapes", layouts.cityscapes, {}, [-1, 0, 18], 19),
    ("voc", layouts.voc, {}, [0, 20, -1], 21),
    ("oxford_pet", layouts.oxford_pet, {"train_list": "trainval"}, [0, 1, -1], 2),
    ("camvid", lambda path: layouts.folder(path, (0, 10, 11)), {}, [0, 10, -1], 11),
]


@pytest.mark.parametrize(("name", "write", "options", "expected", "classes"), LAYOUTS)
@pytest.mark.parametrize("part", ["train", "val"])
def test_semantic_layouts(
    name: str,
    write: Callable[[Path], Path],
    options: dict[str, Any],
    expected: list[int],
    classes: int,
    part: Any,
    tmp_path: Path,
) -> None:
    config = SceneConfig(format=name, path=str(write(tmp_path)), **options)  # type: ignore[arg-type]
    source = read_scenes(config, part)
    assert len(source.classes) == classes
    scene = source.read(0)
    assert scene.image.shape == (3, *layouts.SIZE)
    assert scene.image.dtype == torch.uint8
    assert scene.truth.class_map()[0, [0, 15, 29]].tolist() == expected
    assert scene.truth.segment_map.dtype == torch.int32
    assert source.describe(0) in scene.name


def test_voc_lists_and_extended_masks(tmp_path: Path) -> None:
    path = str(layouts.voc(tmp_path))
    assert len(read_scenes(SceneConfig(format="voc", path=path), "train")) == 1
    extended = read_scenes(SceneConfig(format="voc", path=path, train_list="trainaug"), "train")
    assert len(extended) == 2
    assert extended.read(1).truth.class_map()[0, -1] == -1
    with pytest.raises(DataError, match="there is no such list"):
        read_scenes(SceneConfig(format="voc", path=path, train_list="nothing"), "train")
    (tmp_path / "SegmentationClassAug" / "c.png").unlink()
    with pytest.raises(DataError, match=r"c\.png: .*trainaug\.txt names it"):
        read_scenes(SceneConfig(format="voc", path=path, train_list="trainaug"), "train")


def test_pets_are_divided_breed_by_breed(tmp_path: Path) -> None:
    path = str(layouts.oxford_pet(tmp_path))

    def names(part: Any, **options: Any) -> list[str]:
        config = SceneConfig(format="oxford_pet", path=path, train_list="trainval", **options)
        source = read_scenes(config, part)
        return [Path(source.describe(index)).stem for index in range(len(source))]

    train, val = names("train"), names("val")
    assert sorted(name.split("_")[0] for name in val) == ["bengal", "pug"]
    assert len(train) == 8
    assert not {*train} & {*val}
    assert names("test") == ["pug_9"]
    assert len({tuple(names("val", split_seed=seed)) for seed in range(8)}) > 1
    with pytest.raises(DataError, match=r"trainval\.txt: leaves no photo for val"):
        names("val", validation_fraction=0)
    (tmp_path / "annotations" / "trimaps" / f"{val[0]}.png").unlink()
    with pytest.raises(DataError, match=rf"{val[0]}\.png: .*trainval\.txt names it"):
        names("train")


def test_colour_masks(tmp_path: Path) -> None:
    import numpy as np

    layouts.folder(tmp_path)
    (tmp_path / "label_colors.txt").write_text(
        "64 128 64\tAnimal\n192 0 128\tArchway\n0 0 0\tVoid\n"
    )
    for part in ("train", "val"):
        for file in (tmp_path / part / "labels").iterdir():
            file.unlink()
            colours = np.array([[64, 128, 64], [192, 0, 128], [0, 0, 0]], np.uint8)
            layouts.mask(file.with_name(f"{file.stem}_L.png"), colours[layouts.stripes(0, 1, 2)])
    for kind in ("camvid", "folder"):
        source = read_scenes(SceneConfig(format=kind, path=str(tmp_path)), "train")  # type: ignore[arg-type]
        assert source.classes.names == ("Animal", "Archway")
        assert source.classes.colours[1] == (192, 0, 128)
        assert source.read(2).truth.class_map()[0, [0, 15, 29]].tolist() == [0, 1, -1]
    (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n0 0 0\tVoid\n")
    with pytest.raises(DataError, match=r"_L\.png: the colour \(192, 0, 128\) is not in"):
        read_scenes(SceneConfig(format="camvid", path=str(tmp_path)), "train").read(0)
    (tmp_path / "label_colors.txt").write_text("64 128 Animal\n")
    with pytest.raises(DataError, match="line 1 is '64 128 Animal'"):
        read_scenes(SceneConfig(format="camvid", path=str(tmp_path)), "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("256 0 0 a", r"line 1 is '256 0 0 a'; write colours of 0 to 255"),
        ("1 2 3 a\n\n1 2 3 b", r"line 3 gives b the colour of a"),
        ("1 2 3 a\n1 2 4 a", "line 2 names the class a a second time"),
        ("0 0 0 Void", "names no class"),
        ("9" * 5000 + " 1 1 a", "write red, green, blue and a name"),
    ],
)
def test_colours_that_mean_no_class(text: str, message: str, tmp_path: Path) -> None:
    layouts.folder(tmp_path)
    (tmp_path / "label_colors.txt").write_text(text)
    with pytest.raises(DataError, match=rf"label_colors\.txt: .*{message}") as refused:
        read_scenes(SceneConfig(format="camvid", path=str(tmp_path)), "train")
    assert len(str(refused.value)) < 400


def test_coco_panoptic(tmp_path: Path) -> None:
    source = read_scenes(
        SceneConfig(format="coco_panoptic", path=str(layouts.coco(tmp_path))), "val"
    )
    assert source.panoptic
    assert source.classes.names == ("person", "grass")
    assert source.classes.things == (0,)
    truth = source.read(0).truth
    assert truth.segment_map[0, [0, 9, 20, 29]].tolist() == [-1, 0, 1, 2]
    assert truth.segment_classes.tolist() == [0, 0, 1]
    assert truth.crowd.tolist() == [False, True, False]
    semantic = truth.semantic(2)
    assert semantic.segment_map[0, [0, 9, 20, 29]].tolist() == [-1, 0, 0, 1]


def test_panoptic_files_are_read_back_equal(tmp_path: Path) -> None:
    source = read_scenes(SceneConfig(format="digit_scenes", crop_size=(64, 80)), "val")
    scenes = [source.read(index) for index in range(3)]
    names = [f"{index}.jpg" for index in range(3)]
    for name, scene in zip(names, scenes, strict=True):
        layouts.photo(tmp_path / name, (64, 80))
        assert len(scene.truth.segment_classes) > 2
    truths = [scene.truth for scene in scenes]
    writer = PanopticWriter(tmp_path, source.classes)
    for name, truth in zip(names, truths, strict=True):
        writer.add(name, truth)
    again = read_panoptic_json(writer.finish(), tmp_path / "panoptic", tmp_path)
    assert again.classes == replace(source.classes, ids=tuple(range(1, 12)))
    for index, truth in enumerate(truths):
        read = again.read(index).truth
        assert torch.equal(read.segment_map, truth.segment_map)
        assert torch.equal(read.segment_classes, truth.segment_classes)
        assert torch.equal(read.crowd, truth.crowd)


def test_ids_of_coco_survive_reading_and_writing(tmp_path: Path) -> None:
    path = layouts.coco(tmp_path / "coco")
    source = read_scenes(SceneConfig(format="coco_panoptic", path=str(path)), "val")
    assert source.classes.ids == (1, 193)
    writer = PanopticWriter(tmp_path, source.classes)
    writer.add("000000000009.jpg", source.read(0).truth)
    written = json.loads(writer.finish().read_text())
    original = json.loads((path / "annotations" / "panoptic_val2017.json").read_text())
    assert [c["id"] for c in written["categories"]] == [1, 193]
    assert [i["id"] for i in written["images"]] == [9]
    assert [a["image_id"] for a in written["annotations"]] == [9]
    categories = [
        [s["category_id"] for s in content["annotations"][0]["segments_info"]]
        for content in (written, original)
    ]
    assert categories[0] == categories[1]
    writer.add("street.jpg", source.read(0).truth)
    numbered = json.loads(writer.finish().read_text())
    assert [i["id"] for i in numbered["images"]] == [1, 2]


def test_photos_and_masks_meet_at_the_same_place(tmp_path: Path) -> None:
    images, labels = tmp_path / "train" / "images", tmp_path / "train" / "labels"
    for town, label in (("a", 0), ("b", 1)):
        layouts.photo(images / town / "001.png")
        layouts.mask(labels / town / "001.png", layouts.stripes(label))
    layouts.photo(images / "front_L.png")
    layouts.mask(labels / "front_L.png", layouts.stripes(1))
    layouts.photo(images / "rear.png")
    layouts.mask(labels / "rear_L.png", layouts.stripes(0))
    config = SceneConfig(format="folder", path=str(tmp_path), class_names=["x", "y"])
    source = read_scenes(config, "train")
    classes = {
        Path(source.describe(n)).relative_to(images).as_posix(): int(
            source.read(n).truth.class_map()[0, 0]
        )
        for n in range(4)
    }
    assert classes == {"a/001.png": 0, "b/001.png": 1, "front_L.png": 1, "rear.png": 0}
    layouts.mask(labels / "rear_L.bmp", layouts.stripes(0))
    with pytest.raises(DataError, match=r"rear\.png: has several masks"):
        read_scenes(config, "train")
    (labels / "rear_L.bmp").unlink()
    (labels / "b" / "001.png").unlink()
    with pytest.raises(DataError, match=r"b/001\.png: has no mask in .*labels, such as b/001\.png"):
        read_scenes(config, "train")


def test_camvid_in_segnets_layout(tmp_path: Path) -> None:
    layouts.photo(tmp_path / "train" / "0.png")
    layouts.mask(tmp_path / "trainannot" / "0.png", layouts.stripes(0, 10, 11))
    scene = read_scenes(SceneConfig(format="camvid", path=str(tmp_path)), "train").read(0)
    assert scene.truth.class_map()[0, [0, 15, 29]].tolist() == [0, 10, -1]


def test_names_and_colours_of_public_sets() -> None:
    assert (len(ADE20K_NAMES), len(set(ADE20K_NAMES))) == (150, 150)
    assert (ADE20K_NAMES[0], ADE20K_NAMES[20], ADE20K_NAMES[149]) == ("wall", "car", "flag")
    assert (len(VOC_NAMES), VOC_NAMES[15]) == (21, "person")
    assert len(CITYSCAPES_IDS) == 19
    # Pascal VOC's colour map: background, aeroplane, bicycle, ..., person.
    assert [voc_colour(n) for n in (0, 1, 2, 15)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (192, 128, 128),
    ]


@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="CamVid is not beside this checkout")
def test_real_camvid() -> None:
    for part, count in (("train", 367), ("val", 101)):
        source = read_scenes(SceneConfig(format="camvid", path=str(SHARED / "camvid")), part)  # type: ignore[arg-type]
        assert len(source) == count
        scene = source.read(0)
        assert scene.image.shape == (3, 360, 480)
        assert int(scene.truth.segment_map.max()) <= 10


SAMPLE = SHARED / "coco-panoptic-sample" / "sample_data"


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="COCO's samples are not beside this checkout")
def test_real_coco_samples() -> None:
    source = read_panoptic_json(
        SAMPLE / "panoptic_examples.json", SAMPLE / "panoptic_examples", SAMPLE / "input_images"
    )
    assert len(source.classes) == 133
    assert len(source.classes.things) == 80
    for index in range(2):
        truth = source.read(index).truth
        areas = [s.area for s in source.annotations[index].segments_info]
        assert truth.segment_map[truth.segment_map >= 0].bincount().tolist() == areas


def test_missing_folders_are_named(tmp_path: Path) -> None:
    for name in ("folder", "camvid", "ade20k", "cityscapes", "voc", "coco_panoptic"):
        names = ["a"] if name == "folder" else None
        config = SceneConfig(format=name, path=str(tmp_path / "no"), class_names=names)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=r"no.*there is no such.*scenes\.path"):
            read_scenes(config, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        list_photos(tmp_path / "empty")
    with pytest.raises(DataError, match=r"scenes\.class_names"):
        read_scenes(SceneConfig(format="folder", path=str(layouts.folder(tmp_path))), "train")


@pytest.mark.parametrize(
    ("place", "change", "named"),
    [
        ("annotations", {"segments_info": {"a": 1}}, r"annotations\[0\]\.segments_info: expected"),
        (
            "annotations",
            {"segments_info": [{"id": 1}]},
            r"annotations\[0\].*\[0\]\.category_id: is miss",
        ),
        ("annotations", {"file_name": ["x"]}, r"annotations\[0\]\.file_name: expected text"),
        (
            "annotations",
            {"file_name": "../1.png"},
            r"annotations\[0\]\.file_name: '../1.png' is no",
        ),
        ("annotations", {"image_id": 7}, r"annotations\[0\]\.image_id: 7 is not among"),
        ("images", {"file_name": "/etc/passwd"}, r"images\[0\]\.file_name: '/etc/passwd' is no"),
        ("categories", {"id": float("inf")}, r"categories\[0\]\.id: is inf"),
        ("categories", {"id": "x"}, r"categories\[0\]\.id: expected a whole number"),
        ("categories", {"color": [1, 2]}, r"categories\[0\]\.color: expected a list of length 3"),
        ("categories", {"color": [1, 2, 256]}, r"categories\[0\]\.color\[2\]: expected a whole"),
        ("categories", {"isthing": 2}, r"categories\[0\]\.isthing"),
    ],
)
def test_wrong_types_in_coco_are_named(
    place: str, change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    content: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [
            {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 5, "category_id": 1}]}
        ],
        "categories": [{"id": 1, "name": "sky", "color": [1, 2, 3], "isthing": 0}],
    }
    file = tmp_path / "panoptic.json"
    file.write_text(json.dumps(content))
    assert len(read_panoptic_json(file, tmp_path, tmp_path)) == 1
    content[place][0] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"panoptic\.json: {named}"):
        read_panoptic_json(file, tmp_path, tmp_path)
    content[place][0] |= {"padding": "x" * 5_000_000}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"panoptic\.json: "):
        read_panoptic_json(file, tmp_path, tmp_path)
