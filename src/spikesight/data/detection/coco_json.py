"""COCO's instances: one JSON file with the objects of many photos, and where such files lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import Struct

from spikesight.data.class_lists import check_class_names
from spikesight.data.detection.class_choice import chosen_classes
from spikesight.data.detection.part_names import names_of
from spikesight.data.detection.photo_lists import ListedPhoto, PhotoList, Tally
from spikesight.data.detection.stored_masks import (
    LabelNumber,
    RunLengths,
    StoredMask,
    polygons,
)
from spikesight.data.errors import DataError
from spikesight.data.photos.decoding import read_head, read_image_file
from spikesight.data.segmentation.scene import ClassTable
from spikesight.files.documents import read_json, shortened
from spikesight.files.limits import ANNOTATION_BYTES, IMAGE_PIXELS
from spikesight.files.names import check_inside, check_name, show

_REMEDY = (
    "correct it to COCO's format: images with id and file_name, annotations with image_id, "
    "category_id and bbox, categories with id and name"
)
_PART_FILES = (
    "annotations/instances_{}2017.json",
    "annotations/instances_{}2014.json",
    "annotations/instances_{}.json",
    "annotations/{}.json",
    "{}/_annotations.coco.json",
    "{}/instances.json",
    "{}/annotations.json",
    "{}.json",
)
_WHOLE_FILES = (
    "annotations/instances_default.json",
    "_annotations.coco.json",
    "instances.json",
    "annotations.json",
)
_PHOTO_FOLDERS = ("{}2017", "{}2014", "{}", "images/{}2017", "images/{}2014", "images/{}")
_COMMON_FOLDERS = ("images", "images/default", "JPEGImages", "")
_LARGEST = 1 << 24

Flag = bool | Literal[0, 1]


class Runs(Struct, gc=False):
    """A mask as run lengths."""

    size: tuple[int, int]
    counts: str | list[int]


class Annotation(Struct):
    """An object; what else the JSON says of it is not read."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: Flag = 0
    ignore: Flag = 0
    segmentation: list[list[float]] | Runs | None = None
    label: int | None = None


class Photo(Struct, gc=False):
    """A photo."""

    id: int | str
    file_name: str
    height: int | None = None
    width: int | None = None


class Category(Struct, gc=False):
    """A class."""

    id: int
    name: str


class CocoFile(Struct):
    """The parts of the JSON that are read."""

    images: list[Photo]
    categories: list[Category]
    annotations: list[Annotation] | None = None


@dataclass(frozen=True)
class CocoLayout:
    """Where a part of a set lies.

    Attributes:
        file: Its JSON.
        folders: Folders in which its photos may be, the likeliest first.
    """

    file: Path
    folders: tuple[Path, ...]


def find_coco(path: Path, part: str, annotations: str | None) -> CocoLayout | None:
    """Finds the JSON of a part.

    Args:
        path: Folder of the set.
        part: "train", "val" or "test".
        annotations: Name of the JSON in it, where it is none of the usual ones.

    Returns:
        None if there is none.

    Raises:
        DataError: The folder or the file that is named is not there.
    """
    if not path.is_dir():
        raise DataError(f"{show(path)}: there is no such folder; correct objects.path")
    names = names_of(part, path, path / "images")
    if annotations is not None:
        file = path / annotations
        if not file.is_file():
            raise DataError(f"{show(file)}: there is no such file; correct objects.annotations")
        found = [file]
    else:
        places = [pattern.format(name) for pattern in _PART_FILES for name in names]
        places += _WHOLE_FILES if part == "train" else ()
        found = [file for place in places if (file := path / place).is_file()]
    if not found:
        return None
    file = found[0]
    folders = [file.parent / "images", file.parent]
    folders += [path / pattern.format(name) for pattern in _PHOTO_FOLDERS for name in names]
    folders += [path / name for name in _COMMON_FOLDERS]
    return CocoLayout(file, tuple(dict.fromkeys(folders)))


def read_coco_json(layout: CocoLayout, class_names: Sequence[str] | None) -> PhotoList:
    """Reads a JSON of COCO's format.

    A box is [left, top, width, height] in pixels, the left upper corner of the photo being (0, 0);
    a file that was converted from Pascal VOC's XML without taking 1 from xmin and ymin, as both of
    review_object_detection_metrics', has its left and upper edges one pixel further in than
    `read_voc_xml`. Classes come in the order of the categories. Crowds and what is to be ignored
    are crowds. Masks are polygons, run lengths plain or compressed, or, where objects have a
    `label`, the pixels of that number in `labels/NAME.png` beside the folder `images`.

    Args:
        layout: Where it lies.
        class_names: Which classes to read, in which order; objects of others are left out.

    Raises:
        DataError: It is missing or damaged, or not one of its photos is there.
    """
    file, name = layout.file, show(layout.file)
    content = read_json(file, CocoFile, remedy=_REMEDY, limit=ANNOTATION_BYTES, error=DataError)
    if not content.annotations:
        raise DataError(f"{name}: annotations: there are none; pass a file with objects")
    table, numbers = _classes(content.categories, class_names, name)
    tally = Tally()
    photos, places = _photos(content.images, layout, name, tally)
    objects: dict[int, list[Annotation]] = defaultdict(list)
    for place, annotation in enumerate(content.annotations):
        if annotation.image_id not in places:
            raise DataError(
                f"{name}: annotations[{place}].image_id: {shortened(repr(annotation.image_id))} is "
                f"not among the images; {_REMEDY}"
            )
        if annotation.category_id not in numbers:
            raise DataError(
                f"{name}: annotations[{place}].category_id: {annotation.category_id} is not among "
                f"the categories; {_REMEDY}"
            )
        if not all(abs(value) < _LARGEST for value in annotation.bbox):
            raise DataError(
                f"{name}: annotations[{place}].bbox: {annotation.bbox} are no numbers of pixels; "
                f"{_REMEDY}"
            )
        photo = places[annotation.image_id]
        if photo is None:
            continue
        if numbers[annotation.category_id] is None:
            tally.other_classes += 1
        else:
            objects[photo].append(annotation)
    read = [
        _with_objects(photo, objects[place], numbers, name, tally)
        for place, photo in enumerate(photos)
    ]
    masks = any(mask is not None for photo in read for mask in photo.masks or ())
    if not masks:
        read = [replace(photo, masks=None) for photo in read]
    return PhotoList(read, table, name, tally, masks)


def _classes(
    categories: Sequence[Category], class_names: Sequence[str] | None, name: str
) -> tuple[ClassTable, dict[int, int | None]]:
    """The table of the classes, and the number of each category's; None of one left out."""
    ids: dict[str, int] = {}
    for place, category in enumerate(categories):
        if category.id in ids.values():
            raise DataError(
                f"{name}: categories[{place}].id: {category.id} is given twice; {_REMEDY}"
            )
        check_name(category.name, f"{name}: categories[{place}]", DataError)
        ids.setdefault(category.name, category.id)
    check_class_names([category.name for category in categories], f"{name}: categories")
    table = chosen_classes(list(ids), class_names, name, complete=True)
    if not all(0 <= number < 1 << 53 for number in ids.values()):
        raise DataError(f"{name}: categories: an id is below 0 or too large; {_REMEDY}")
    table = replace(table, ids=tuple(ids[label] for label in table.names))
    chosen = {label: number for number, label in enumerate(table.names)}
    return table, {category.id: chosen.get(category.name) for category in categories}


def _photos(
    images: Sequence[Photo], layout: CocoLayout, name: str, tally: Tally
) -> tuple[list[tuple[Path, Photo]], dict[int | str, int | None]]:
    """The photos that are there, and where among them each image id's is; None of a lost one."""
    for place, image in enumerate(images):
        inside = image.file_name.replace("\\", "/")
        check_name(inside, f"{name}: images[{place}]", DataError)
        check_inside(inside, f"{name}: images[{place}]", DataError)
        if not inside:
            raise DataError(f"{name}: images[{place}].file_name: is empty; {_REMEDY}")
    folder = _folder(images, layout, name)
    found: list[tuple[Path, Photo]] = []
    places: dict[int | str, int | None] = {}
    files: dict[Path, int | None] = {}
    for place, image in enumerate(images):
        file = folder / image.file_name.replace("\\", "/")
        if image.id in places:
            if file not in files or files[file] != places[image.id]:
                raise DataError(
                    f"{name}: images[{place}].id: {shortened(repr(image.id))} is given to two "
                    f"photos; {_REMEDY}"
                )
            tally.twice += 1
        elif file in files:
            tally.twice += 1
            places[image.id] = files[file]
        elif not file.is_file():
            tally.missing += 1
            places[image.id] = files[file] = None
        else:
            places[image.id] = files[file] = len(found)
            found.append((file, image))
    return found, places


def _folder(images: Sequence[Photo], layout: CocoLayout, name: str) -> Path:
    """The folder in which the first photo lies that lies in one."""
    folders = [folder for folder in layout.folders if folder.is_dir()]
    for image in images:
        for folder in folders:
            if (folder / image.file_name.replace("\\", "/")).is_file():
                return folder
    raise DataError(
        f"{name}: not one of its {len(images)} photos is in "
        f"{', '.join(show(folder) for folder in layout.folders[:4])} or the like; put them beside "
        "it or in a folder images"
    )


def _with_objects(
    photo: tuple[Path, Photo],
    annotations: Sequence[Annotation],
    numbers: dict[int, int | None],
    name: str,
    tally: Tally,
) -> ListedPhoto:
    file, image = photo
    size = None
    if image.height and image.width:
        size = (image.height, image.width)
        if min(size) < 0 or size[0] * size[1] > IMAGE_PIXELS.value:
            raise DataError(
                f"{name}: images: {shortened(image.file_name)} is said to have {size[1]}x{size[0]} "
                f"pixels; {_REMEDY}"
            )
    boxes = np.array([annotation.bbox for annotation in annotations], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels: Path | None = None
    if any(annotation.label is not None for annotation in annotations):
        picture = file.parent.parent / "labels" / f"{file.stem}.png"
        labels = picture if picture.is_file() else None
    listed = ListedPhoto(
        file,
        size,
        boxes,
        np.array([numbers[annotation.category_id] for annotation in annotations], np.int64),
        np.array([bool(a.iscrowd or a.ignore) for a in annotations], np.bool_),
        tuple(_mask(annotation, labels, name) for annotation in annotations),
    )
    limits = size
    if limits is None:
        head = read_head(read_image_file(file), str(file))
        limits = (head.height, head.width)
    return listed.sorted_out(limits, tally)


def _mask(annotation: Annotation, labels: Path | None, name: str) -> StoredMask | None:
    stored = annotation.segmentation
    if isinstance(stored, Runs):
        counts = stored.counts
        return RunLengths(stored.size, counts if isinstance(counts, str) else tuple(counts))
    if stored:
        try:
            return polygons(stored)
        except ValueError as error:
            raise DataError(
                f"{name}: an object of the image {shortened(repr(annotation.image_id))}: {error}; "
                f"{_REMEDY}"
            ) from error
    if labels is not None and annotation.label is not None:
        return LabelNumber(labels, annotation.label)
    return None
