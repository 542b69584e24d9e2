"""Writes one small set of photos with objects in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (40, 60)
NAMES = ("cell", "platelet")
# Of each photo: class, and left, top, right and bottom edge in pixels from 0.
BOXES: dict[str, list[tuple[int, tuple[int, int, int, int]]]] = {
    "a": [(0, (5, 10, 25, 30)), (1, (30, 2, 36, 8))],
    "b": [(0, (0, 0, 60, 40))],
    "c": [],
    "d": [(1, (58, 38, 60, 40)), (1, (10, 10, 12, 30)), (0, (20, 5, 50, 35))],
    "e": [(0, (7, 7, 17, 17))],
}


def photo(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def photos(folder: Path, names: Any = BOXES) -> None:
    for seed, name in enumerate(names):
        photo(folder / f"{name}.jpg", seed)


def voc_text(name: str, objects: Any, size: tuple[int, int] = SIZE) -> str:
    """An XML file; boxes as VOC counts them, from 1 and with the last pixel."""
    entries = "".join(
        f"<object><name>{NAMES[label]}</name><difficult>0</difficult><bndbox>"
        f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object>"
        for label, (left, top, right, bottom) in objects
    )
    return (
        f"<annotation><filename>{name}.jpg</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size>{entries}</annotation>"
    )


def voc(path: Path, lists: bool = True) -> Path:
    photos(path / "JPEGImages")
    (path / "Annotations").mkdir()
    for name, objects in BOXES.items():
        (path / "Annotations" / f"{name}.xml").write_text(voc_text(name, objects))
    if lists:
        folder = path / "ImageSets" / "Main"
        folder.mkdir(parents=True)
        (folder / "train.txt").write_text("a\nc\nd\n")
        (folder / "val.txt").write_text("b\ne\n")
    return path


def coco_content(names: Any = BOXES) -> dict[str, Any]:
    """A JSON of COCO's format; category ids have a gap."""
    images = [
        {"id": 10 + place, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]}
        for place, name in enumerate(names)
    ]
    annotations = [
        {
            "id": 100 * image + place,
            "image_id": 10 + image,
            "category_id": 3 + 4 * label,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        for image, name in enumerate(names)
        for place, (label, (left, top, right, bottom)) in enumerate(BOXES[name])
    ]
    categories = [{"id": 3 + 4 * label, "name": name} for label, name in enumerate(NAMES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco(path: Path, content: dict[str, Any] | None = None) -> Path:
    """One JSON and a folder of photos."""
    photos(path / "images")
    (path / "instances.json").write_text(json.dumps(content or coco_content()))
    return path


def yolo(path: Path) -> Path:
    """All photos in `images`, text files in `labels`; a photo without objects has none."""
    photos(path / "images")
    (path / "labels").mkdir()
    height, width = SIZE
    for name, objects in BOXES.items():
        lines = [
            f"{label} {(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f} "
            f"{(right - left) / width:.6f} {(bottom - top) / height:.6f}"
            for label, (left, top, right, bottom) in objects
        ]
        if lines:
            (path / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (path / "data.yaml").write_text(f"names: [{', '.join(NAMES)}]\nnc: 2\ntrain: ../train/images\n")
    return path
