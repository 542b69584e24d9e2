"""Writes recordings with boxes beside them, as GEN1 and 1 Megapixel lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikesight.data.events import Events
from tests.data.events.files import encode_dat, random_events, write

GEN1_BOX = [
    ("ts", "<u8"),
    ("x", "<f4"),
    ("y", "<f4"),
    ("w", "<f4"),
    ("h", "<f4"),
    ("class_id", "u1"),
    ("confidence", "<f4"),
    ("track_id", "<u4"),
]
LATER_BOX = [
    ("t", "<i8"),
    *GEN1_BOX[1:5],
    ("class_id", "<u4"),
    ("track_id", "<u4"),
    ("class_confidence", "<f4"),
]


def box_table(rows: list[tuple[float, ...]], fields: list[tuple[str, str]] = GEN1_BOX) -> Any:
    """Structs of rows (time, x, y, w, h, class)."""
    table = np.zeros(len(rows), fields)
    for name, values in zip([f[0] for f in fields[:6]], zip(*rows, strict=True), strict=True):
        table[name] = values
    return table


def write_boxed(folder: Path, name: str, events: Events, boxes: Any) -> None:
    """A recording and its boxes."""
    write(folder / f"{name}_td.dat", encode_dat(events))
    np.save(folder / f"{name}_bbox.npy", boxes)


def write_gen1(root: Path, parts: tuple[str, ...] = ("train", "val", "test")) -> None:
    """Two recordings for each part, with a box at 600,000 and two at 700,000 us."""
    for part in parts:
        for number in range(2):
            rows = [
                (700_000, 5, 6, 40, 50, 1),
                (600_000, 10, 20, 30, 40, 0),
                (700_000, 290, 200, 40, 60, 0),
            ]
            events = random_events(4000, 304, 240, number, longest=400)
            fields = LATER_BOX if number else GEN1_BOX
            write_boxed(root / part, f"drive_{number}", events, box_table(rows, fields))
