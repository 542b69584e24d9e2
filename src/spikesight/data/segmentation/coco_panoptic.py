"""COCO's panoptic format: a PNG whose colours are segment ids, and a JSON that explains them."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np
import torch
from msgspec import Struct
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spikesight.data.errors import DataError
from spikesight.data.segmentation.files import (
    look_up_colours,
    read_colour_mask,
    read_photo,
)
from spikesight.data.segmentation.scene import VOID, ClassTable, Colour, Scene, Truth
from spikesight.files.documents import read_json, shortened
from spikesight.files.limits import ANNOTATION_BYTES
from spikesight.files.own_pictures import OWN_MARK

_REMEDY = (
    "correct it to COCO's panoptic format: images with id and file_name, annotations with "
    "image_id, file_name and segments_info, categories with id, name, color and isthing"
)
_PARTS = {"train": "train2017", "val": "val2017"}


Flag = bool | Literal[0, 1]


class Segment(Struct, gc=False):
    """An object or a region of stuff; what else the JSON says of it is not read."""

    id: int
    category_id: int
    iscrowd: Flag = 0
    area: float = 0


class Annotation(Struct):
    """The segments of a photo."""

    image_id: int | str
    file_name: str
    segments_info: list[Segment]


class Photo(Struct, gc=False):
    """A photo."""

    id: int | str
    file_name: str


class Category(Struct):
    """A class."""

    id: int
    name: str
    color: Colour
    isthing: Flag


class CocoFile(Struct):
    """The parts of the JSON that are read."""

    images: list[Photo]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True)
class CocoPanoptic:
    """Photos with panoptic PNGs.

    Attributes:
        photos: Folder of the photos.
        masks: Folder of the PNGs.
        annotations: Entries of the JSON.
        names: Image id to the photo's file name.
        classes: The categories in the JSON's order.
        numbers: Category id to class number.
        name: What messages call the photos.
    """

    photos: Path
    masks: Path
    annotations: list[Annotation]
    names: dict[int | str, str]
    classes: ClassTable
    numbers: dict[int, int]
    name: str
    panoptic: bool = True

    def __len__(self) -> int:
        return len(self.annotations)

    def describe(self, index: int) -> str:
        """The photo's path."""
        return str(self._photo(index))

    def _photo(self, index: int) -> Path:
        return self.photos / self.names[self.annotations[index].image_id]

    def read(self, index: int) -> Scene:
        """Reads a photo and its segments.

        Raises:
            CorruptImageError: A file cannot be decoded.
            DataError: The files do not fit each other.
        """
        annotation = self.annotations[index]
        file = self.masks / annotation.file_name
        truth = _truth(file, annotation.segments_info, self.numbers)
        photo = self._photo(index)
        return Scene(read_photo(photo), truth, f"{photo} with {file}")


def read_coco_panoptic(path: Path, part: str) -> CocoPanoptic:
    """Reads `PARTyear` photos with `annotations/panoptic_PARTyear.json` and PNGs beside it.

    Args:
        path: Folder with train2017, val2017 and annotations.
        part: "train" or "val".

    Raises:
        DataError: Files are missing or damaged.
    """
    if part not in _PARTS:
        raise DataError(f"{path}: keeps no masks for {part}; it has {' and '.join(_PARTS)}")
    folder = _PARTS[part]
    return read_panoptic_json(
        path / "annotations" / f"panoptic_{folder}.json",
        path / "annotations" / f"panoptic_{folder}",
        path / folder,
    )


def read_panoptic_json(file: Path, masks: Path, photos: Path) -> CocoPanoptic:
    """Reads one JSON of COCO's panoptic format.

    Args:
        file: The JSON.
        masks: Folder of the PNGs.
        photos: Folder of the photos.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file; correct scenes.path")
    content = read_json(file, CocoFile, remedy=_REMEDY, limit=ANNOTATION_BYTES, error=DataError)
    for part in ("annotations", "categories"):
        if not getattr(content, part):
            raise DataError(f"{file}: {part}: there are none; pass another file")
    names: dict[int | str, str] = {}
    for place, image in enumerate(content.images):
        _refuse_outside(file, f"images[{place}]", image.file_name)
        _refuse_twice(file, "images", image.id, names)
        names[image.id] = image.file_name
    numbers: dict[int, int] = {}
    for number, category in enumerate(content.categories):
        _refuse_twice(file, "categories", category.id, numbers)
        numbers[category.id] = number
    for place, annotation in enumerate(content.annotations):
        _refuse_outside(file, f"annotations[{place}]", annotation.file_name)
        if annotation.image_id not in names:
            raise DataError(
                f"{file}: annotations[{place}].image_id: {annotation.image_id!r} is not among the "
                f"images; {_REMEDY}"
            )
    table = ClassTable(
        tuple(category.name for category in content.categories),
        tuple(category.color for category in content.categories),
        tuple(n for n, category in enumerate(content.categories) if category.isthing),
        tuple(category.id for category in content.categories),
    )
    return CocoPanoptic(photos, masks, content.annotations, names, table, numbers, str(file))


def _refuse_outside(file: Path, place: str, name: str) -> None:
    if name and name[0] not in "/\\" and ".." not in name and ":" not in name:
        return
    path = PureWindowsPath(name)  # which knows slashes and backslashes
    if path.anchor or ".." in path.parts or not path.name:
        raise DataError(
            f"{file}: {place}.file_name: {shortened(name)!r} is no name of a file in the folder; "
            f"{_REMEDY}"
        )


def _refuse_twice(file: Path, list_name: str, number: int | str, known: Container[object]) -> None:
    if number in known:
        raise DataError(f"{file}: {list_name}: the id {number!r} is given twice; {_REMEDY}")


def _truth(file: Path, segments: list[Segment], numbers: dict[int, int]) -> Truth:
    known = {segment.id: position for position, segment in enumerate(segments)} | {0: VOID}
    if len(known) <= len(segments):
        raise DataError(
            f"{file}: one id is given to two of its segments_info, or is 0, which is no segment; "
            "repair the JSON"
        )
    colours = {_swapped(number): value for number, value in known.items() if 0 <= number < 1 << 24}
    segment_map, unknown = look_up_colours(read_colour_mask(file), colours)
    if unknown is not None:
        raise DataError(
            f"{file}: segment id {_swapped(unknown)} is not among its segments_info; repair the "
            "JSON or the PNG, whose colours must be segment ids"
        )
    strange = [s.category_id for s in segments if s.category_id not in numbers]
    if strange:
        raise DataError(
            f"{file}: category_id {strange[0]} is not among the categories; repair the JSON"
        )
    return Truth(
        segment_map,
        torch.tensor([numbers[s.category_id] for s in segments], dtype=torch.int64),
        torch.tensor([bool(s.iscrowd) for s in segments], dtype=torch.bool),
    )


def _swapped(number: int) -> int:
    """COCO's id is red + 256 * green + 65536 * blue, a colour here the other way round."""
    return (number & 255) << 16 | number & 0xFF00 | number >> 16


class PanopticWriter:
    """Writes segments in COCO's panoptic format, one photo at a time.

    Category ids are those of the data set, where it gave some, else the numbers of the classes
    plus 1. The id of an image is the number that its file is called after, as COCO's are, else its
    place in the order of `add`.

    Args:
        folder: Where `panoptic/NAME.png` and, at the end, `panoptic.json` go.
        classes: The classes.
    """

    def __init__(self, folder: Path, classes: ClassTable) -> None:
        self._folder = folder
        self._classes = classes
        self._categories = classes.ids or tuple(range(1, len(classes) + 1))
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        (folder / "panoptic").mkdir(parents=True, exist_ok=True)

    def add(self, name: str, truth: Truth) -> None:
        """Writes the PNG of a photo.

        Args:
            name: File name of the photo.
            truth: Its segments; pixels of -1 get the id 0.
        """
        ids = truth.segment_map.numpy().astype(np.int64) + 1
        rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
        stem = Path(name).stem
        mark = PngInfo()
        mark.add_text("Software", OWN_MARK)
        Image.fromarray(rgb).save(self._folder / "panoptic" / f"{stem}.png", pnginfo=mark)
        height, width = truth.segment_map.shape
        self._images.append({"file_name": name, "height": height, "width": width})
        segments = [
            {
                "id": position + 1,
                "category_id": self._categories[int(label)],
                "iscrowd": int(truth.crowd[position]),
                **extent(ids == position + 1),
            }
            for position, label in enumerate(truth.segment_classes)
        ]
        self._annotations.append({"file_name": f"{stem}.png", "segments_info": segments})

    def finish(self) -> Path:
        """Writes the JSON, which `read_panoptic_json` reads back equal."""
        stems = [Path(image["file_name"]).stem for image in self._images]
        numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
        if len(set(numbers)) < len(stems):
            numbers = list(range(1, len(stems) + 1))
        things = self._classes.things
        rows = zip(self._categories, self._classes.names, self._classes.colours, strict=True)
        content = {
            "images": [{"id": n, **i} for n, i in zip(numbers, self._images, strict=True)],
            "annotations": [
                {"image_id": n, **a} for n, a in zip(numbers, self._annotations, strict=True)
            ],
            "categories": [
                {"id": number, "name": name, "color": list(colour), "isthing": int(n in things)}
                for n, (number, name, colour) in enumerate(rows)
            ],
        }
        path = self._folder / "panoptic.json"
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")
        return path


def extent(mask: Any) -> dict[str, Any]:
    """Area and bounding box (left, top, width, height) of a mask, as COCO has them.

    Args:
        mask: bool [H, W].
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return {"area": 0, "bbox": [0, 0, 0, 0]}
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
    return {"area": len(rows), "bbox": box}
