"""Prophesee recordings of decoded events (.dat), versions 1 and 2.

After a header as in .raw files, one byte says the type of the events and one their size; a file
without a header has neither. An event has two little-endian words of 32 bits: microseconds, and the
place. From version 2 on that is 14 bits of column, 14 of row and 4 of polarity (docs.prophesee.ai,
DAT File Format); before, 9 bits of column, 8 of row and one of polarity, for the ATIS of 304 x 240
pixels, and headers name no version.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from spikesight.data.events.recording import Events, build_events, check_whole, corrupt
from spikesight.data.events.text_header import read_header, stated_sensor

_SIZE = 8
_EVENTS = {0: "2D", 12: "CD"}
_OTHERS = {14: "external triggers"}
_ATIS = (304, 240)
_OLD_BITS = 9 + 8 + 1


def parse_dat(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Events:
    """Reads a recording of 2D or CD events.

    Args:
        content: The whole file.
        name: What error messages call it.
        sensor: Width and height; if omitted, those that the header states, or the ATIS's.

    Returns:
        Its events; row 0 is the highest.

    Raises:
        CorruptRecordingError: If it is of another kind, states no sensor, or is damaged.
    """
    lines, start = read_header(content, b"%")
    if lines:
        start = _check_kind(content, start, name)
    check_whole(name, content, start, _SIZE)
    pairs = np.frombuffer(content, "<u4", offset=start).reshape(-1, 2)
    ticks, place = pairs[:, 0].astype(np.int64), pairs[:, 1]
    ticks += np.cumsum(np.diff(ticks, prepend=ticks[:1]) < -(1 << 31)) << 32
    old = _is_old(lines, place, name)
    column, row = (9, 8) if old else (14, 14)
    sensor = sensor or stated_sensor(lines) or (_ATIS if old else None)
    if sensor is None:
        raise corrupt(
            name,
            "does not state its sensor's size; pass sensor=(width, height) (data.events.sensor), "
            "such as (120, 100) for N-CARS",
        )
    return build_events(
        name,
        lambda number: start + _SIZE * number,
        ticks,
        (place & (1 << column) - 1).astype(np.int32),
        (place >> column & (1 << row) - 1).astype(np.int32),
        place >> column + row & 1 == 1,
        sensor,
    )


def _check_kind(content: bytes, start: int, name: str) -> int:
    """Where the events begin, behind their type and size."""
    if start + 2 > len(content):
        raise corrupt(name, f"is cut off at byte {len(content)}, before the type of its events")
    kind, size = content[start : start + 2]
    if kind not in _EVENTS or size != _SIZE:
        what = f" ({_OTHERS[kind]})" if kind in _OTHERS else ""
        known = " and ".join(f"{number} ({events})" for number, events in _EVENTS.items())
        raise corrupt(
            name,
            f"has events of type {kind}{what} and {size} bytes; only the types {known} of {_SIZE} "
            "bytes are read",
        )
    return start + 2


def _is_old(lines: list[str], place: NDArray[np.uint32], name: str) -> bool:
    """Whether the places have the bits of the versions before 2."""
    if not lines:
        return not (place >> _OLD_BITS).any()
    stated = re.search(r"^version\s+(\d{1,9})", "\n".join(lines), re.I | re.M)
    version = int(stated[1]) if stated is not None else 1
    if version > 2:
        raise corrupt(name, f"has version {version} of DAT and only 1 and 2 are read")
    return version < 2
