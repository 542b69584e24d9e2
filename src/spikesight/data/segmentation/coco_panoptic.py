"""COCO's panoptic format: a PNG whose colours are segment ids, and a JSON that explains them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from spikesight.data.errors import DataError
from spikesight.data.segmentation.files import VOID, pack_colours, read_mask, read_photo
from spikesight.data.segmentation.scene import ClassTable, Scene, Truth

_PARTS = {"train": "train2017", "val": "val2017"}


@dataclass(frozen=True)
class CocoPanoptic:
    """Photos with panoptic PNGs.

    Attributes:
        photos: Folder of the photos.
        masks: Folder of the PNGs.
        annotations: Entries of the JSON, with the photo's file name as "photo".
        classes: The categories in the JSON's order.
        numbers: Category id to class number.
        name: What messages call the photos.
    """

    photos: Path
    masks: Path
    annotations: list[dict[str, Any]]
    classes: ClassTable
    numbers: dict[int, int]
    name: str
    panoptic: bool = True

    def __len__(self) -> int:
        return len(self.annotations)

    def describe(self, index: int) -> str:
        """The photo's path."""
        return str(self.photos / self.annotations[index]["photo"])

    def read(self, index: int) -> Scene:
        """Reads a photo and its segments.

        Raises:
            CorruptImageError: A file cannot be decoded.
            DataError: The files do not fit each other.
        """
        annotation = self.annotations[index]
        file = self.masks / annotation["file_name"]
        truth = _truth(file, annotation["segments_info"], self.numbers)
        photo = self.photos / annotation["photo"]
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
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        categories = content["categories"]
        names = {image["id"]: image["file_name"] for image in content["images"]}
        annotations = [
            {**annotation, "photo": names[annotation["image_id"]]}
            for annotation in content["annotations"]
        ]
        things = tuple(n for n, category in enumerate(categories) if category["isthing"])
        table = ClassTable(
            tuple(category["name"] for category in categories),
            tuple((c["color"][0], c["color"][1], c["color"][2]) for c in categories),
            things,
        )
        numbers = {category["id"]: number for number, category in enumerate(categories)}
    except (json.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{file}: is not in COCO's panoptic format ({error!r}); it needs images, annotations "
            "and categories with name, color and isthing"
        ) from error
    if not annotations:
        raise DataError(f"{file}: holds no annotation; pass another file")
    return CocoPanoptic(photos, masks, annotations, table, numbers, str(file))


def _truth(file: Path, segments: list[dict[str, Any]], numbers: dict[int, int]) -> Truth:
    rgb = np.asarray(read_mask(file).convert("RGB"))
    # COCO: id = red + 256 * green + 65536 * blue.
    ids = pack_colours(rgb[..., ::-1])
    known = {segment["id"]: position for position, segment in enumerate(segments)} | {0: VOID}
    found, inverse = np.unique(ids, return_inverse=True)
    unknown = [int(number) for number in found if int(number) not in known]
    if unknown:
        raise DataError(
            f"{file}: segment id {unknown[0]} is not among its segments_info; repair the JSON"
        )
    strange = [s["category_id"] for s in segments if s["category_id"] not in numbers]
    if strange:
        raise DataError(
            f"{file}: category_id {strange[0]} is not among the categories; repair the JSON"
        )
    positions = np.array([known[int(number)] for number in found], np.int32)
    return Truth(
        torch.from_numpy(positions[inverse.reshape(ids.shape)]),
        torch.tensor([numbers[s["category_id"]] for s in segments], dtype=torch.int64),
        torch.tensor([bool(s.get("iscrowd", 0)) for s in segments], dtype=torch.bool),
    )


def write_panoptic(
    folder: Path, names: list[str], truths: list[Truth], classes: ClassTable
) -> Path:
    """Writes segments in COCO's panoptic format.

    Args:
        folder: Where `panoptic/NAME.png` and `panoptic.json` go.
        names: File names of the photos.
        truths: Their segments; pixels of -1 get the id 0.
        classes: The classes; category ids are their numbers plus 1.

    Returns:
        The JSON; `read_panoptic_json` reads it back equal.
    """
    masks = folder / "panoptic"
    masks.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, truth) in enumerate(zip(names, truths, strict=True), start=1):
        ids = truth.segment_map.numpy().astype(np.int64) + 1
        rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
        file = f"{Path(name).stem}.png"
        Image.fromarray(rgb).save(masks / file)
        height, width = truth.segment_map.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        annotations.append(
            {
                "image_id": number,
                "file_name": file,
                "segments_info": [
                    {
                        "id": position + 1,
                        "category_id": int(truth.segment_classes[position]) + 1,
                        "iscrowd": int(truth.crowd[position]),
                        **_extent(ids == position + 1),
                    }
                    for position in range(len(truth.segment_classes))
                ],
            }
        )
    categories = [
        {"id": n + 1, "name": name, "color": list(colour), "isthing": int(n in classes.things)}
        for n, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    ]
    path = folder / "panoptic.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return path


def _extent(mask: Any) -> dict[str, Any]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return {"area": 0, "bbox": [0, 0, 0, 0]}
    left, top = int(columns.min()), int(rows.min())
    box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
    return {"area": len(rows), "bbox": box}
