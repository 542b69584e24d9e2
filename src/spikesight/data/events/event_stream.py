"""Event Stream files (.es), version 2, of the type DVS.

After `Event Stream`, three bytes of version, one of type and the sensor's width and height (16
bits, little-endian) come the events. Byte 0 of an event holds the microseconds since the event
before, times two, plus the polarity; column and row follow with 16 bits each. The byte 255 alone
adds 127 microseconds, the byte 254 alone resets the reader (Event Stream specification,
neuromorphic-paris/event_stream).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikesight.data.events.recording import Events, build_events, corrupt

_MAGIC = b"Event Stream"
_HEADER = 20
_DVS = 1
_RESET, _OVERFLOW = 254, 255
_LONGEST_DELTA = 127
_EVENT = 5
_CHUNK = 1 << 15


def parse_event_stream(content: bytes, name: str) -> Events:
    """Reads an Event Stream file.

    Returns:
        Its events; row 0 is the lowest.

    Raises:
        CorruptRecordingError: If it is no such file, of another version or type, or damaged.
    """
    if content[: len(_MAGIC)] != _MAGIC:
        raise corrupt(name, "does not begin with 'Event Stream', so it is no .es file")
    if len(content) < _HEADER:
        raise corrupt(name, f"ends at byte {len(content)}, inside the header of {_HEADER} bytes")
    version = ".".join(str(number) for number in content[12:15])
    if content[12] != 2:
        raise corrupt(name, f"has version {version} of Event Stream and only 2 is read")
    if content[15] != _DVS:
        raise corrupt(name, f"holds a stream of type {content[15]} and only type 1 (DVS) is read")
    width, height = (int(v) for v in np.frombuffer(content, "<u2", 2, 16))
    data = np.frombuffer(content, np.uint8, offset=_HEADER)
    starts = _find_starts(data)
    first = data[starts]
    is_event = first < _RESET
    if len(starts) and is_event[-1] and int(starts[-1]) + _EVENT > len(data):
        raise corrupt(
            name,
            f"event {int(is_event.sum()) - 1} at byte {_HEADER + int(starts[-1])} is cut off by "
            f"the end of the file at byte {len(content)}",
        )
    elapsed = np.where(is_event, first >> 1, np.where(first == _OVERFLOW, _LONGEST_DELTA, 0))
    at = starts[is_event]
    low_x, high_x, low_y, high_y = (data[at + byte].astype(np.int32) for byte in range(1, _EVENT))
    return build_events(
        name,
        lambda number: _HEADER + int(at[number]),
        np.cumsum(elapsed, dtype=np.int64)[is_event],
        low_x | high_x << 8,
        low_y | high_y << 8,
        (data[at] & 1).astype(np.bool_),
        (width, height),
        "lower left",
    )


def _find_starts(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where events and single bytes begin, by doubling the reach of every byte's successor."""
    found = []
    start = 0
    while start < len(data):
        chunk = data[start : start + _CHUNK]
        size = len(chunk)
        # Successors beyond the chunk share the places behind it, one for each distance.
        jump = np.arange(size + _EVENT, dtype=np.int32)
        jump[:size] += np.where(chunk < _RESET, _EVENT, 1).astype(np.int32)
        reached = np.zeros(size + _EVENT, np.bool_)
        reached[0] = True
        while True:
            reached[jump[np.flatnonzero(reached)]] = True
            if jump[0] >= size:
                break
            jump = jump[jump]
        inside = np.flatnonzero(reached[:size])
        found.append(inside + start)
        last = int(inside[-1])
        start += last + (_EVENT if chunk[last] < _RESET else 1)
    return np.concatenate(found) if found else np.zeros(0, np.int64)
