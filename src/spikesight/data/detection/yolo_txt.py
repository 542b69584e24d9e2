"""YOLO's annotations: a text file per photo, boxes or outlines as shares of its sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from spikesight.data.class_lists import check_class_names
from spikesight.data.detection.class_choice import chosen_classes
from spikesight.data.detection.part_names import names_of
from spikesight.data.detection.photo_lists import ListedPhoto, PhotoList, Tally
from spikesight.data.detection.stored_masks import Polygons, polygons
from spikesight.data.errors import DataError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.files.documents import read_yaml, shortened
from spikesight.files.limits import PHOTO_ANNOTATION_BYTES
from spikesight.files.names import show
from spikesight.files.opening import read_text
from spikesight.files.walking import find_files

_REMEDY = (
    "correct it to lines of a class's number and the middle, width and height of a box, or the "
    "corners of an outline, as shares of the photo's width and height"
)
_YAML_FILES = ("data.yaml", "dataset.yaml", "data.yml")
_NAME_FILES = ("obj.names", "classes.txt", "classes.names")
_PHOTO_FOLDERS = ("{}/images", "images/{}", "{}")
_COMMON_FOLDERS = ("images", "JPEGImages", "")
_BOX_NUMBERS = 5
_LEAST_SHARE, _MOST_SHARE = -1.0, 2.0  # outside of a photo, but not in pixels


class _DataFile(Struct):
    """What is read of data.yaml; where its parts lie is taken from the folders."""

    names: list[str | int] | dict[int, str | int]


@dataclass(frozen=True)
class YoloLayout:
    """Where a set lies.

    Attributes:
        parts: The photos of each part that there is.
        labels: Folder of the text files; None where each lies beside its photo or in `labels` in
            place of `images`.
        names: The classes, if a file names them.
    """

    parts: dict[str, list[Path]]
    labels: Path | None
    names: list[str] | None


def find_yolo(path: Path, annotations: str | None) -> YoloLayout:
    """Finds photos and names.

    Photos lie in `PART/images`, `images/PART` or `PART`, their text files in `labels` in place of
    `images` or beside them. Without such folders, all photos in `images` or the folder itself are
    `train`. Classes are named in data.yaml, obj.names or classes.txt.

    Args:
        path: Folder of the set.
        annotations: Name of the folder of the text files in it, where it is none of these.

    Raises:
        DataError: There are no photos, or a file is damaged.
    """
    if not path.is_dir():
        raise DataError(f"{show(path)}: there is no such folder; correct objects.path")
    labels = None if annotations is None else path / annotations
    if labels is not None and not labels.is_dir():
        raise DataError(f"{show(labels)}: there is no such folder; correct objects.annotations")
    parts: dict[str, list[Path]] = {}
    for part in ("train", "val", "test"):
        names = names_of(part, path, path / "images")
        for place in (pattern.format(name) for pattern in _PHOTO_FOLDERS for name in names):
            photos = _photos(path / place)
            if photos:
                parts[part] = photos
                break
    if "train" not in parts:
        places = (path / name for name in _COMMON_FOLDERS)
        photos = next(filter(None, map(_photos, places)), [])
        taken = {photo for other in parts.values() for photo in other}
        photos = [photo for photo in photos if photo not in taken]
        if photos:
            parts["train"] = photos
    if not parts:
        raise DataError(
            f"{show(path)}: holds no photos in train/images, images/train or images; correct "
            "objects.path"
        )
    folders = [path, *([labels, labels.parent] if labels is not None else [])]
    return YoloLayout(parts, labels, _names(folders))


def _photos(folder: Path) -> list[Path]:
    return find_files(folder, IMAGE_SUFFIXES, error=DataError) if folder.is_dir() else []


def _names(folders: Sequence[Path]) -> list[str] | None:
    for folder in folders:
        for name in _YAML_FILES:
            if (file := folder / name).is_file():
                return _names_in_yaml(file)
        for name in _NAME_FILES:
            if (file := folder / name).is_file():
                names = [line.strip() for line in read_text(file, error=DataError).splitlines()]
                names = [line for line in names if line]
                check_class_names(names, show(file))
                return names
    return None


def _names_in_yaml(file: Path) -> list[str]:
    remedy = "give it a list names of the classes"
    given = read_yaml(file, _DataFile, remedy=remedy, error=DataError).names
    if isinstance(given, dict):
        if sorted(given) != list(range(len(given))):
            raise DataError(f"{show(file)}: names: does not number the classes 0, 1, ...; {remedy}")
        given = [given[number] for number in range(len(given))]
    names = [str(name) for name in given]
    check_class_names(names, f"{show(file)}: names")
    return names


def read_yolo_txt(
    layout: YoloLayout, part: str, class_names: Sequence[str] | None, name: str
) -> PhotoList:
    """Reads the photos of a part.

    A box is its middle, width and height as shares of the photo's width and height, the photo's
    left upper corner being (0, 0) and its right lower one (1, 1). An outline's object has the box
    around it. A photo without a text file, or with an empty one, has no objects.

    Args:
        layout: Where the parts lie.
        part: One of the parts that there are.
        class_names: Which classes to read, in which order, and others left out; where no file
            names the classes, their names.
        name: What messages call the photos.

    Raises:
        DataError: A file is damaged, or the classes have no names.
    """
    present = layout.names
    if present is None:
        if class_names is None:
            raise DataError(
                f"{name}: no data.yaml, obj.names or classes.txt names the classes; pass "
                "objects.class_names"
            )
        present, class_names = list(class_names), None
    table = chosen_classes(present, class_names, name, complete=True)
    chosen = {label: number for number, label in enumerate(table.names)}
    numbers = [chosen.get(label) for label in present]
    tally = Tally()
    photos = [_read(photo, layout.labels, numbers, tally) for photo in layout.parts[part]]
    masks = any(mask is not None for photo in photos for mask in photo.masks or ())
    return PhotoList(photos, table, name, tally, masks, relative=True)


def _label_file(photo: Path, labels: Path | None) -> Path | None:
    """The text file of a photo; None if it has none."""
    name = f"{photo.stem}.txt"
    places = [photo.with_name(name)]
    if labels is not None:
        places = [labels / name]
    else:
        parts = list(photo.parts)
        for place in range(len(parts) - 2, -1, -1):
            if parts[place] == "images":
                places.insert(0, Path(*parts[:place], "labels", *parts[place + 1 : -1], name))
                break
    return next((file for file in places if file.is_file()), None)


def _read(
    photo: Path, labels: Path | None, numbers: Sequence[int | None], tally: Tally
) -> ListedPhoto:
    file = _label_file(photo, labels)
    lines = []
    if file is not None:
        lines = read_text(file, PHOTO_ANNOTATION_BYTES, DataError).splitlines()
    boxes, classes, masks = [], [], []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        label, values = _values(line, f"{show(file or photo)}: line {place}", len(numbers))
        number = numbers[label]
        if number is None:
            tally.other_classes += 1
            continue
        box, mask = _object(values)
        boxes.append(box)
        classes.append(number)
        masks.append(mask)
    listed = ListedPhoto(
        photo,
        None,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.zeros(len(classes), np.bool_),
        tuple(masks) if any(masks) else None,
    )
    return listed.sorted_out((1.0, 1.0), tally)


def _values(line: str, name: str, classes: int) -> tuple[int, list[float]]:
    """The class's number and the shares that follow it."""
    try:
        label, *values = (float(word) for word in line.split())
    except ValueError as error:
        raise DataError(f"{name} is {shortened(line)!r}; {_REMEDY}") from error
    if not (label.is_integer() and 0 <= label < classes):
        raise DataError(
            f"{name}: the class {shortened(line.split()[0])} is none of the {classes} that have a "
            f"name; correct it or name the class"
        )
    box = len(values) + 1 == _BOX_NUMBERS
    outline = len(values) >= _BOX_NUMBERS + 1 and len(values) % 2 == 0
    if not (box or outline):
        raise DataError(f"{name} has {len(values)} numbers after the class; {_REMEDY}")
    if not all(math.isfinite(v) and _LEAST_SHARE <= v <= _MOST_SHARE for v in values):
        raise DataError(f"{name} is {shortened(line)!r}, which are no shares; {_REMEDY}")
    return int(label), values


def _object(values: Sequence[float]) -> tuple[tuple[float, float, float, float], Polygons | None]:
    """The edges of an object's box, and its outline if it has one."""
    if len(values) + 1 == _BOX_NUMBERS:
        across, down, width, height = values
        left, top = across - width / 2, down - height / 2
        return (left, top, left + width, top + height), None
    columns, rows = values[::2], values[1::2]
    return (min(columns), min(rows), max(columns), max(rows)), polygons([values], relative=True)
