"""Readers of boxes and masks: formats agree, faults of real sets are counted or named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spikesight.data import DataError
from spikesight.data.detection import ObjectConfig, ObjectSource, read_objects
from tests.data.detection import layouts


def read(path: Path, format_: str, part: Any = "train", **options: Any) -> ObjectSource:
    options = {"validation_fraction": 0.4, **options}
    return read_objects(ObjectConfig(format=format_, path=str(path), **options), part)


def listed(source: ObjectSource) -> dict[str, list[tuple[int, tuple[float, ...]]]]:
    """Class and edges of every object by photo."""
    found = {}
    for index in range(len(source)):
        objects = source.read(index, False).objects
        boxes = [tuple(round(edge, 3) for edge in box) for box in objects.boxes.tolist()]
        found[Path(source.describe(index)).stem] = list(
            zip(objects.classes.tolist(), boxes, strict=True)
        )
    return found


def whole(path: Path, format_: str, **options: Any) -> dict[str, Any]:
    """A set without parts: what trains and what validates."""
    parts = [listed(read(path, format_, part, **options)) for part in ("train", "val")]
    assert not parts[0].keys() & parts[1].keys()
    return parts[0] | parts[1]


def test_every_format_reads_the_same_boxes(tmp_path: Path) -> None:
    layouts.voc(tmp_path / "voc", lists=False)
    layouts.coco(tmp_path / "coco")
    layouts.yolo(tmp_path / "yolo")
    for format_ in ("voc", "coco", "yolo"):
        found = whole(tmp_path / format_, format_)
        assert found == layouts.BOXES, format_


def test_voc_has_the_parts_of_its_lists_and_the_classes_of_all(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    train, validation = (read(tmp_path, "voc", part) for part in ("train", "val"))
    assert list(listed(train)) == ["a", "c", "d"]
    assert list(listed(validation)) == ["b", "e"]
    assert train.classes.names == validation.classes.names == layouts.NAMES
    assert train.notes == "3 photos, 5 boxes; photos without objects: 1"
    lists = tmp_path / "ImageSets" / "Main"
    (lists / "test.txt").write_text("kept_back\n")
    with pytest.raises(DataError, match="no objects for testing; it has train, val"):
        read(tmp_path, "voc", "test")
    (lists / "val.txt").write_text("b\nlost\n")
    with pytest.raises(DataError, match=r"val\.txt: names lost, but there is no XML file"):
        read(tmp_path, "voc")


def test_all_photos_of_a_set_that_is_not_divided(tmp_path: Path) -> None:
    """Held-out photos have no parts; a set that has some is not taken for one."""
    whole = read_objects(ObjectConfig("voc", str(layouts.voc(tmp_path / "held_out", False))), "all")
    assert len(whole) == len(layouts.BOXES)
    coco = layouts.coco(tmp_path / "coco")
    assert len(read_objects(ObjectConfig("coco", str(coco)), "all")) == len(layouts.BOXES)
    divided = ObjectConfig("voc", str(layouts.voc(tmp_path / "divided")))
    with pytest.raises(DataError, match="divided into train and val; pass the split"):
        read_objects(divided, "all")
    with pytest.raises(DataError, match="digit_scenes' is divided"):
        read_objects(ObjectConfig(), "all")


def test_a_division_keeps_when_the_folder_moves_and_follows_its_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        layouts.coco(tmp_path / name)
    chosen = [list(listed(read(tmp_path / name, "coco", "val"))) for name in ("one", "two")]
    assert chosen[0] == chosen[1]
    seeds = {str(list(listed(read(tmp_path / "one", "coco", split_seed=s)))) for s in range(9)}
    assert len(seeds) > 1
    with pytest.raises(DataError, match=r"validation_fraction 0\.05 of its 5 photos leaves 5"):
        read(tmp_path / "one", "coco", validation_fraction=0.05)


def test_faulty_boxes_of_voc_are_counted(tmp_path: Path) -> None:
    layouts.voc(tmp_path, lists=False)
    text = layouts.voc_text("a", [(0, (5, 10, 25, 30)), (1, (-3, 5, 20, 50)), (0, (70, 1, 80, 9))])
    # The labels of BCCD have boxes such as this one.
    text = text.replace(
        "</annotation>",
        "<object><name>cell</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>5</xmax>"
        "<ymax>6</ymax></bndbox></object></annotation>",
    )
    (tmp_path / "Annotations" / "a.xml").write_text(
        text.replace(">0</difficult>", ">1</difficult>")
    )
    (tmp_path / "JPEGImages" / "e.jpg").unlink()
    sources = [read(tmp_path, "voc", part) for part in ("train", "val")]
    counts = (
        "boxes of zero size, left out: 1; boxes outside of their photo, left out: 1; boxes cut off "
        "at the edge of their photo: 1; photos missing on the disk: 1"
    )
    assert all(source.notes.endswith(counts) for source in sources)
    assert sorted("ignored: 2" in source.notes for source in sources) == [False, True]
    found = listed(sources[0]) | listed(sources[1])
    assert found["a"] == [(0, (5, 10, 25, 30)), (1, (0, 5, 20, 40))]


def test_a_file_of_voc_that_reaches_elsewhere_is_refused(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    file = tmp_path / "Annotations" / "a.xml"
    bomb = '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'
    for text, message in (
        (bomb, "document type definition"),
        (file.read_text().replace("a.jpg", "../../a.jpg"), "leads out of its folder"),
        ("<a>" * 50, "nested deeper"),
        (file.read_text().replace("<xmin>6", "<xmin>six"), "object 0: xmin is 'six'"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=rf"a\.xml.*{message}"):
            read(tmp_path, "voc")


def test_classes_are_chosen_and_ordered_by_name(tmp_path: Path) -> None:
    layouts.coco(tmp_path / "coco")
    layouts.yolo(tmp_path / "yolo")
    for format_ in ("coco", "yolo"):
        source = read(tmp_path / format_, format_, class_names=["platelet"])
        assert source.classes.names == ("platelet",)
        assert "boxes of other classes, left out: 4" in source.notes
        with pytest.raises(DataError, match=r"has no class 'blood'; .*cell, platelet"):
            read(tmp_path / format_, format_, class_names=["blood"])
    assert read(tmp_path / "coco", "coco").classes.ids == (3, 7)


def changed(path: Path, **changes: Any) -> Path:
    """COCO's JSON with some lists made longer."""
    content = layouts.coco_content()
    for name, entries in changes.items():
        content[name] = content[name] + entries
    return layouts.coco(path, content)


def test_faults_of_coco_are_counted(tmp_path: Path) -> None:
    mark = {"category_id": 3, "image_id": 10}
    path = changed(
        tmp_path,
        images=[{"id": 10, "file_name": "a.jpg"}, {"id": 77, "file_name": "lost.jpg"}],
        annotations=[
            {**mark, "bbox": [5, 5, 0, 9]},
            {**mark, "bbox": [50, 30, 20, 20], "iscrowd": 1},
            {**mark, "bbox": [1, 1, 5, 5], "image_id": 77},
        ],
    )
    notes = [read(path, "coco", part).notes for part in ("train", "val")]
    for count in (
        "boxes of zero size, left out: 1",
        "photos missing on the disk: 1",
        "photos listed twice: 1",
        "boxes cut off at the edge of their photo: 1",
    ):
        assert count in notes[0]
    assert sum("crowds or to be ignored: 1" in note for note in notes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 10, "file_name": "b.jpg"}]}, r"images\[5\]\.id: 10 is given to two"),
        ({"images": [{"id": 99, "file_name": "../a.jpg"}]}, r"images\[5\].*leads out"),
        ({"categories": [{"id": 3, "name": "again"}]}, r"categories\[2\]\.id: 3 is given twice"),
        ({"categories": [{"id": 9, "name": "cell"}]}, "the class 'cell' comes twice"),
        (
            {"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2]}]},
            r"annotations\[7\]\.image_id: 1 is not among",
        ),
        (
            {"annotations": [{"image_id": 10, "category_id": 4, "bbox": [1, 1, 2, 2]}]},
            r"annotations\[7\]\.category_id: 4 is not among",
        ),
        (
            {"annotations": [{"image_id": 10, "category_id": 3, "bbox": [1, 1, 2]}]},
            r"annotations\[7\]\.bbox: expected a list of length 4",
        ),
    ],
)
def test_faults_of_coco_that_mean_nothing_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"instances\.json: .*{message}"):
        read(changed(tmp_path, **changes), "coco")


def test_a_set_without_annotations_or_photos_is_refused(tmp_path: Path) -> None:
    layouts.coco(tmp_path / "a", {**layouts.coco_content(), "annotations": []})
    with pytest.raises(DataError, match="annotations: there are none"):
        read(tmp_path / "a", "coco")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "instances.json").write_text(json.dumps(layouts.coco_content()))
    with pytest.raises(DataError, match="not one of its 5 photos is in"):
        read(tmp_path / "b", "coco")
    for format_, message in (("voc", "no XML file"), ("yolo", "no photos"), ("coco", "no JSON")):
        (tmp_path / format_).mkdir()
        with pytest.raises(DataError, match=message):
            read(tmp_path / format_, format_)


def test_coco_and_roboflow_lay_their_parts_out_in_folders_of_their_own(tmp_path: Path) -> None:
    for part, names, folder in (("train", "acd", "train2017"), ("val", "be", "val2017")):
        layouts.photos(tmp_path / "coco" / folder, names)
        places = [f"coco/annotations/instances_{folder}.json"]
        roboflow = tmp_path / "roboflow" / {"train": "Train", "val": "valid"}[part]
        layouts.photos(roboflow, names)
        places.append(f"{roboflow.relative_to(tmp_path)}/_annotations.coco.json")
        for place in places:
            file = tmp_path / place
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(layouts.coco_content(names)))
    for layout in ("coco", "roboflow"):
        assert list(listed(read(tmp_path / layout, "coco"))) == ["a", "c", "d"]
        assert list(listed(read(tmp_path / layout, "coco", "val"))) == ["b", "e"]
    given = {
        "annotations": "annotations/instances_train2017.json",
        "validation_annotations": "annotations/instances_val2017.json",
    }
    assert list(listed(read(tmp_path / "coco", "coco", "val", **given))) == ["b", "e"]
    del given["validation_annotations"]
    assert whole(tmp_path / "coco", "coco", validation_fraction=0.6, **given).keys() == {*"acd"}


def square() -> np.ndarray[Any, Any]:
    mask = np.zeros(layouts.SIZE, np.uint8)
    mask[10:30, 5:25] = 1
    return mask


def test_masks_are_read_from_polygons_and_run_lengths(tmp_path: Path) -> None:
    mask = square()
    column = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], column, [0]])))
    runs = np.diff(np.concatenate([[0], edges, [len(column)]])).tolist()
    polygon = [5, 10, 25, 10, 25, 30, 5, 30]
    from faster_coco_eval.core.mask import encode

    packed = encode(np.asfortranarray(mask))["counts"]
    size = list(layouts.SIZE)
    stored: list[Any] = [
        [polygon],
        {"size": size, "counts": runs},
        {"size": size, "counts": packed if isinstance(packed, str) else packed.decode()},
    ]
    for place, segmentation in enumerate(stored):
        content = layouts.coco_content()
        content["annotations"][0]["segmentation"] = segmentation
        path = layouts.coco(tmp_path / str(place), content)
        source = read(path, "coco")
        assert source.masks
        number = [Path(source.describe(n)).stem for n in range(len(source))].index("a")
        objects = source.read(number, True).objects
        assert objects.masks is not None
        assert torch.equal(objects.masks[0], torch.from_numpy(mask).bool())
        # The other object has none: a crowd that fills its box.
        assert objects.crowd.tolist() == [False, True]
        assert objects.masks[1].sum() == 6 * 6
        assert "without a mask: " in source.notes
        assert source.read(number, False).objects.masks is None


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [40, 60], "counts": [5, 5]}, "do not add up"),
        ({"size": [40, 60], "counts": "zzzz"}, "damaged"),
        ({"size": [60, 40], "counts": [2400]}, "its mask has 40x60 pixels and the photo 60x40"),
        ([[1, 2, 3, 4, 5, 6, 7]], "odd number of coordinates"),
    ],
)
def test_damaged_masks_are_named(tmp_path: Path, segmentation: Any, message: str) -> None:
    content = layouts.coco_content("ae")
    for annotation in content["annotations"]:
        annotation["segmentation"] = segmentation
    with pytest.raises(DataError, match=message):
        read(layouts.coco(tmp_path, content), "coco", validation_fraction=0.5).read(0, True)


def test_masks_are_numbers_in_a_picture_of_labels(tmp_path: Path) -> None:
    content = layouts.coco_content()
    content["annotations"][0]["label"] = 500
    layouts.photos(tmp_path / "train" / "images")
    (tmp_path / "train" / "instances.json").write_text(json.dumps(content))
    (tmp_path / "train" / "labels").mkdir()
    labels = (square().astype(np.uint16) * 500).astype(np.uint16)
    Image.fromarray(labels).save(tmp_path / "train" / "labels" / "a.png")
    source = read(tmp_path, "coco")
    number = [Path(source.describe(n)).stem for n in range(len(source))].index("a")
    masks = source.read(number, True).objects.masks
    assert masks is not None
    assert torch.equal(masks[0], torch.from_numpy(labels) == 500)


def test_yolo_reads_outlines_and_parts(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        layouts.photos(tmp_path / part / "images", "a")
        folder = tmp_path / part / "labels"
        folder.mkdir()
        (folder / "a.txt").write_text("1 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5\n")
    with pytest.raises(DataError, match=r"names the classes; pass objects\.class_names"):
        read(tmp_path, "yolo")
    source = read(tmp_path, "yolo", "val", class_names=["cell", "platelet"])
    assert listed(source) == {"a": [(1, (15, 10, 45, 20))]}
    masks = source.read(0, True).objects.masks
    assert masks is not None
    assert masks.sum() == 30 * 10
    for line, message in (
        ("1 0.5 0.5 0.1", "3 numbers after the class"),
        ("2 0.5 0.5 0.1 0.1", "the class 2 is none of the 2"),
        ("1 30 20 5 5", "no shares"),
    ):
        (tmp_path / "train" / "labels" / "a.txt").write_text(line)
        with pytest.raises(DataError, match=rf"a\.txt: line 1.*{message}"):
            read(tmp_path, "yolo", class_names=["cell", "platelet"])


def test_a_photo_of_another_size_than_stated_is_named(tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    layouts.photo(tmp_path / "images" / "a.jpg", size=(20, 20))
    with pytest.raises(DataError, match=r"a\.jpg: has 20x20 pixels .*say 60x40"):
        whole(tmp_path, "coco")


def test_digit_scenes_have_boxes_around_their_masks() -> None:
    config = ObjectConfig(image_size=(40, 60), scenes=3, objects=(3, 3))
    source = read_objects(config, "train")
    read_scene = source.read(1, True)
    objects = read_scene.objects
    assert read_scene.size == (40, 60)
    assert objects.masks is not None
    assert source.classes.names == tuple("0123456789")
    for box, mask in zip(objects.boxes.int().tolist(), objects.masks, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert box == [
            int(columns.min()),
            int(rows.min()),
            int(columns.max()) + 1,
            int(rows.max()) + 1,
        ]
