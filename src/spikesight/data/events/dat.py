"""Prophesee recordings of decoded events (.dat), versions 1 and 2.

After a header as in .raw files, one byte says the type of the events and one their size; a file
without a header has neither. An event has two little-endian words of 32 bits: microseconds, and the
place. From version 2 on that is 14 bits of column, 14 of row and 4 of polarity (docs.prophesee.ai,
DAT File Format); before, 9 bits of column, 8 of row and one of polarity, for the ATIS of 304 x 240
pixels, and headers name no version.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikesight.data.errors import CorruptRecordingError
from spikesight.data.events.recording import Events, build_events, check_whole, corrupt
from spikesight.data.events.text_header import read_header, stated_sensor
from spikesight.files.limits import EVENTS
from spikesight.files.names import show
from spikesight.files.opening import open_regular

_SIZE = 8
_EVENTS = {0: "2D", 12: "CD"}
_OTHERS = {14: "external triggers"}
_ATIS = (304, 240)
_OLD_BITS = 9 + 8 + 1
_LONGEST_HEADER = 1 << 16  # bytes


@dataclass(frozen=True)
class DatRecording:
    """A recording of 2D or CD events, of which stretches are read without the rest.

    Attributes:
        path: The file.
        start: Byte of its first event.
        count: Number of its events.
        sensor: Width and height.
        old: Whether places have the bits of the versions before 2.
    """

    path: Path
    start: int
    count: int
    sensor: tuple[int, int]
    old: bool

    @classmethod
    def open(cls, path: Path, sensor: tuple[int, int] | None = None) -> DatRecording:
        """Reads the header of a file that has one.

        Args:
            path: The file.
            sensor: Width and height; if omitted, those that the header states, or the ATIS's.

        Raises:
            CorruptRecordingError: If it is of another kind, states no sensor, or is cut off.
        """
        name = str(path)
        with open_regular(path, CorruptRecordingError) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_LONGEST_HEADER)
        lines, start = read_header(head, b"%")
        if not lines:
            raise corrupt(name, "has no header that states what it holds")
        start = _check_kind(head, start, name)
        if (size - start) % _SIZE:
            raise corrupt(name, f"is cut off at byte {size}, inside an event of {_SIZE} bytes")
        old = _is_old(lines, name)
        stated = _sensor(sensor, lines, old, name)
        return cls(path, start, (size - start) // _SIZE, stated, old)

    def between(self, first: int, stop: int) -> Events:
        """The events with first <= t < stop, in microseconds, of times below 2^32.

        Raises:
            CorruptRecordingError: If they are damaged, or more than the limits.
        """
        name = str(self.path)
        with open_regular(self.path, CorruptRecordingError) as file:
            try:
                low, high = (self._search(file, time) for time in (first, stop))
                EVENTS.check(high - low, show(name), CorruptRecordingError)
                file.seek(self.start + _SIZE * low)
                content = file.read(_SIZE * (high - low))
            except OSError as error:
                raise corrupt(name, f"cannot be read ({error.strerror})") from error
        check_whole(name, content, 0, _SIZE)
        pairs = np.frombuffer(content, "<u4").reshape(-1, 2)
        return _decode(pairs, self.old, self.sensor, self.start + _SIZE * low, name)

    def _search(self, file: BinaryIO, time: int) -> int:
        """Number of the first event that is not before a time."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            file.seek(self.start + _SIZE * middle)
            if int.from_bytes(file.read(4), "little") < time:
                low = middle + 1
            else:
                high = middle
        return low


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
    # Without a header, by the bits that only version 2 uses.
    old = _is_old(lines, name) if lines else not (pairs[:, 1] >> _OLD_BITS).any()
    return _decode(pairs, old, _sensor(sensor, lines, old, name), start, name)


def _decode(
    pairs: NDArray[np.uint32], old: bool, sensor: tuple[int, int], start: int, name: str
) -> Events:
    """Events from times and places `[N, 2]` that begin at a byte of a file."""
    ticks, place = pairs[:, 0].astype(np.int64), pairs[:, 1]
    ticks += np.cumsum(np.diff(ticks, prepend=ticks[:1]) < -(1 << 31)) << 32
    column, row = (9, 8) if old else (14, 14)
    return build_events(
        name,
        lambda number: start + _SIZE * number,
        ticks,
        (place & (1 << column) - 1).astype(np.int32),
        (place >> column & (1 << row) - 1).astype(np.int32),
        place >> column + row & 1 == 1,
        sensor,
    )


def _sensor(
    given: tuple[int, int] | None, lines: list[str], old: bool, name: str
) -> tuple[int, int]:
    sensor = given or stated_sensor(lines) or (_ATIS if old else None)
    if sensor is None:
        raise corrupt(
            name,
            "does not state its sensor's size; pass sensor=(width, height) (data.events.sensor), "
            "such as (120, 100) for N-CARS",
        )
    return sensor


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


def _is_old(lines: list[str], name: str) -> bool:
    """Whether the places have the bits of the versions before 2."""
    stated = re.search(r"^version\s+(\d{1,9})", "\n".join(lines), re.I | re.M)
    version = int(stated[1]) if stated is not None else 1
    if version > 2:
        raise corrupt(name, f"has version {version} of DAT and only 1 and 2 are read")
    return version < 2
