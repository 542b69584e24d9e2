"""What a detector found, as tables: COCO's results in JSON, or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.data.segmentation import ClassTable
from spikesight.files.names import show, show_path
from spikesight.objects import Detections
from spikesight.training.tasks.prediction_tables import write_table

COLUMNS = ("file", "frame", "object", "class", "score", "left", "top", "width", "height")


@dataclass(frozen=True)
class FoundIn:
    """What was found in a photo or in a frame of a video.

    Attributes:
        file: The photo or video.
        frame: Number of the frame, from 1; None of a photo.
        objects: What was found, the best first.
    """

    file: Path
    frame: int | None
    objects: Detections


def write_found(
    found: Sequence[FoundIn],
    path: Path,
    names: Sequence[str],
    category_ids: Sequence[int],
    least_score: float,
) -> None:
    """Writes all as COCO's results (.json), or what is shown as one row per object (.csv).

    An entry has `image_id`, `category_id`, `bbox` (left, top, width, height), `score`, of a model
    that finds masks `segmentation` (COCO's run lengths), and also `file_name` and of a video
    `frame`. The image's id is the number that the photos are called by, as COCO's are; where one is
    not called by a number, they are numbered from 1.

    Args:
        found: Of every photo or frame.
        path: A file ending in .json or .csv.
        names: Names of the classes.
        category_ids: Numbers by which the data's files call them.
        least_score: Of what is shown.
    """
    records: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image_id, seen in zip(_image_ids(found), found, strict=True):
        for number, entry in enumerate(_entries(seen.objects)):
            label = entry.pop("class")
            records.append(
                {
                    "image_id": image_id,
                    "category_id": category_ids[label],
                    **entry,
                    "file_name": show(seen.file.name),
                    **({} if seen.frame is None else {"frame": seen.frame}),
                }
            )
            if entry["score"] < least_score:
                continue
            first = (show_path(seen.file), seen.frame, number + 1, show(names[label]))
            values = (*first, entry["score"], *entry["bbox"])
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_table(path, COLUMNS, rows, records)


def category_ids(table: ClassTable) -> Sequence[int]:
    """Numbers by which a data set's files call the classes; from 1 where they have none."""
    return table.ids or range(1, len(table) + 1)


def _entries(objects: Detections) -> list[dict[str, Any]]:
    """Class, box, score and mask of each object, as plain values."""
    masks = [None] * len(objects) if objects.masks is None else list(objects.masks)
    entries = []
    for number, (left, top, right, bottom) in enumerate(objects.boxes.double().tolist()):
        entry: dict[str, Any] = {
            "class": int(objects.classes[number]),
            "bbox": [round(v, 3) for v in (left, top, right - left, bottom - top)],
            "score": round(float(objects.scores[number]), 5),
        }
        mask = masks[number]
        if mask is not None:
            entry["segmentation"] = _run_lengths(mask.numpy())
        entries.append(entry)
    return entries


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length encoding, compressed."""
    from faster_coco_eval.core import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = encoded["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in encoded["size"]], "counts": text}


def _image_ids(found: Sequence[FoundIn]) -> list[int]:
    stems = [seen.file.stem for seen in found]
    numbered = all(stem.isascii() and stem.isdigit() for stem in stems)
    alone = all(seen.frame is None for seen in found)
    if numbered and alone and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(found) + 1))
