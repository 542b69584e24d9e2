"""Writes small data sets in the layouts in which the real ones are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (20, 30)


def photo(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, values: Any, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if palette:
        image = image.convert("P")
        image.putpalette([v for n in range(256) for v in (n, 255 - n, 7)])
        image.putdata(np.asarray(values).flatten().tolist())
    image.save(path)
    return path


def stripes(*values: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Vertical stripes of equal width."""
    columns = np.repeat(values, -(-size[1] // len(values)))[: size[1]]
    return np.broadcast_to(columns, size).astype(np.uint8)


def folder(path: Path, values: tuple[int, ...] = (0, 1, 255), count: int = 3) -> Path:
    for part in ("train", "val"):
        for number in range(count):
            photo(path / part / "images" / f"{number}.jpg", seed=number)
            mask(path / part / "labels" / f"{number}.png", stripes(*values))
    return path


def ade20k(path: Path) -> Path:
    for part, name in (("training", "ADE_train_1"), ("validation", "ADE_val_1")):
        photo(path / "images" / part / f"{name}.jpg")
        mask(path / "annotations" / part / f"{name}.png", stripes(0, 1, 150))
    return path


def cityscapes(path: Path) -> Path:
    for part in ("train", "val"):
        stem = f"{part}/aachen/aachen_000000_000019"
        photo(path / "leftImg8bit" / f"{stem}_leftImg8bit.png")
        mask(path / "gtFine" / f"{stem}_gtFine_labelIds.png", stripes(0, 7, 33))
        mask(path / "gtFine" / f"{stem}_gtFine_instanceIds.png", stripes(0, 7, 33))
    return path


def voc(path: Path) -> Path:
    lists = {"train": ["a"], "val": ["b"], "trainaug": ["a", "c"]}
    for name, members in lists.items():
        file = path / "ImageSets" / "Segmentation" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(members) + "\n")
    for name, kind in (("a", ""), ("b", ""), ("c", "Aug")):
        photo(path / "JPEGImages" / f"{name}.jpg")
        mask(path / f"SegmentationClass{kind}" / f"{name}.png", stripes(0, 20, 255), kind == "")
    return path


def oxford_pet(path: Path) -> Path:
    """Five photos of each of two breeds, and one of the test list."""
    names = [f"{breed}_{i}" for breed in ("bengal", "pug") for i in range(5)]
    lists = {"trainval": names, "test": ["pug_9"]}
    for listing, members in lists.items():
        file = path / "annotations" / f"{listing}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "#Image CLASS-ID\n" + "".join(f"{m} {m[0] == 'p':d} 1 1\n" for m in members)
        )
        for member in members:
            photo(path / "images" / f"{member}.jpg")
            mask(path / "annotations" / "trimaps" / f"{member}.png", stripes(1, 2, 3))
    return path


def coco(path: Path) -> Path:
    """Two people, one of them a crowd, and grass; category ids with gaps."""
    ids = {1: 70000, 2: 300, 3: 7}
    values = stripes(0, 1, 2, 3).astype(np.int64)
    numbers = np.vectorize(lambda v: ids.get(v, 0))(values)
    rgb = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], -1).astype(np.uint8)
    for part in ("train2017", "val2017"):
        photo(path / part / "000000000009.jpg")
        mask(path / "annotations" / f"panoptic_{part}" / "000000000009.png", rgb)
        segments = [
            {"id": 70000, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]},
            {"id": 300, "category_id": 1, "iscrowd": 1, "area": 1, "bbox": [0, 0, 1, 1]},
            {"id": 7, "category_id": 193, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]},
        ]
        name = "000000000009"
        content = {
            "images": [{"id": 9, "file_name": f"{name}.jpg", "height": 20, "width": 30}],
            "annotations": [{"image_id": 9, "file_name": f"{name}.png", "segments_info": segments}],
            "categories": [
                {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
                {"id": 193, "name": "grass", "isthing": 0, "color": [1, 2, 3]},
            ],
        }
        (path / "annotations" / f"panoptic_{part}.json").write_text(json.dumps(content))
    return path
