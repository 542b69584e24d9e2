"""What a model sees, as tables for other programs: CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikesight.data.segmentation import ClassTable, Truth, extent
from spikesight.files.names import show, show_path
from spikesight.training.runs.storage import write_text

if TYPE_CHECKING:
    from spikesight.training.tasks.classification.prediction import Prediction

TABLE_ENDINGS = (".csv", ".json")


@dataclass(frozen=True)
class SegmentRow:
    """One segment of a photo or of a video's frame.

    Attributes:
        file: The photo or video.
        frame: Number of the frame, from 1; None for a photo.
        segment: Number of the segment, from 1; of a panoptic segmenter its id in the PNG.
        class_name: What it is.
        is_object: Whether it is one object of a thing class.
        pixels: Its area.
        share: Its area as a share of the photo.
        left, top, width, height: The smallest box around it, in pixels.
    """

    file: str
    frame: int | None
    segment: int
    class_name: str
    is_object: bool
    pixels: int
    share: float
    left: int
    top: int
    width: int
    height: int


def segment_rows(
    file: Path, frame: int | None, truth: Truth, table: ClassTable, panoptic: bool
) -> list[SegmentRow]:
    """The segments of a photo that have pixels.

    Args:
        file: The photo or video.
        frame: Number of the frame.
        truth: Its segments.
        table: The classes.
        panoptic: Whether segments of thing classes are objects.
    """
    segments = truth.segment_map.numpy()
    rows = []
    for number, label in enumerate(truth.segment_classes.tolist()):
        mask: Any = segments == number
        found = extent(mask)
        if found["area"]:
            rows.append(
                SegmentRow(
                    show_path(file),
                    frame,
                    number + 1,
                    show(table.names[label]),
                    panoptic and label in table.things,
                    found["area"],
                    round(found["area"] / np.size(mask), 6),
                    *found["bbox"],
                )
            )
    return rows


def write_segments(rows: Sequence[SegmentRow], path: Path) -> None:
    """Writes one row per segment, as CSV or JSON.

    Args:
        rows: The segments.
        path: A file ending in .csv or .json.
    """
    called = {"class_name": "class", "is_object": "object"}
    columns = [called.get(field.name, field.name) for field in fields(SegmentRow)]
    records = [dict(zip(columns, astuple(row), strict=True)) for row in rows]
    _write(path, columns, records, records)


def write_guesses(predictions: Sequence[Prediction], path: Path) -> None:
    """Writes the guesses for every picture, the most probable first, as CSV or JSON.

    Args:
        predictions: What was guessed.
        path: A file ending in .csv or .json.
    """
    most = max((len(p.guesses) for p in predictions), default=1)
    columns = ["file", "class", "probability"]
    for rank in range(2, most + 1):
        columns += [f"class_{rank}", f"probability_{rank}"]
    rows: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for prediction in predictions:
        file = show_path(prediction.file)
        guesses = [(show(name), round(share, 6)) for name, share in prediction.guesses]
        records.append(
            {"file": file, "guesses": [{"class": n, "probability": p} for n, p in guesses]}
        )
        values = [file, *(value for guess in guesses for value in guess)]
        rows.append(dict(zip(columns, values, strict=False)))
    _write(path, columns, rows, records)


def _write(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    records: Sequence[dict[str, Any]],
) -> None:
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(records, indent=2, ensure_ascii=False) + "\n")
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
