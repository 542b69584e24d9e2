"""Folders of photos with boxes, as others store them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_cells(folder: Path, kind: str) -> None:
    """Photos with bright squares, and their boxes in a format."""
    random = np.random.default_rng(1)
    images, annotations = [], []
    for number in range(12):
        photo = random.integers(0, 60, (48, 64, 3), np.uint8)
        left, top = int(random.integers(40)), int(random.integers(24))
        photo[top : top + 20, left : left + 20] = 220
        stem = f"{number:03}"
        place = {"coco": "train", "voc": "JPEGImages", "yolo": "train/images"}[kind]
        (folder / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / place / f"{stem}.png")
        images.append({"id": number, "file_name": f"{stem}.png", "width": 64, "height": 48})
        annotations.append(
            {"id": number, "image_id": number, "category_id": 4, "bbox": [left, top, 20, 20]}
        )
        if kind == "voc":
            (folder / "Annotations").mkdir(exist_ok=True)
            edges = (left + 1, top + 1, left + 20, top + 20)
            names = ("xmin", "ymin", "xmax", "ymax")
            tags = "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, edges, strict=True))
            text = (
                f"<annotation><filename>{stem}.png</filename><object><name>cell</name>"
                f"<bndbox>{tags}</bndbox></object></annotation>"
            )
            (folder / "Annotations" / f"{stem}.xml").write_text(text)
        if kind == "yolo":
            (folder / "train/labels").mkdir(exist_ok=True)
            values = ((left + 10) / 64, (top + 10) / 48, 20 / 64, 20 / 48)
            line = " ".join(map(str, (0, *values)))
            (folder / "train/labels" / f"{stem}.txt").write_text(line + "\n")
            (folder / "data.yaml").write_text("names: [cell]\n")
    if kind == "coco":
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 4, "name": "cell"}],
        }
        (folder / "train" / "_annotations.coco.json").write_text(json.dumps(content))
