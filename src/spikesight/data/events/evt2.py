"""Prophesee recordings (.raw) in the EVT 2.0 format.

After the header come little-endian words of 32 bits, whose upper 4 bits are the
type: 0 darker and 1 brighter (6 bits of time, 11 of column, 11 of row), 8 the upper 28 bits of the
time, 10 an external trigger, 14 and 15 extensions (docs.prophesee.ai, EVT 2.0 Format).
"""

from __future__ import annotations

import numpy as np

from spikesight.data.events.recording import Events, build_events, check_whole, corrupt

_DARKER, _BRIGHTER, _TIME_HIGH = 0, 1, 8
_TYPES = (_DARKER, _BRIGHTER, _TIME_HIGH, 10, 14, 15)
_TIME_HIGH_BITS = 28


def decode_evt2(content: bytes, start: int, name: str, sensor: tuple[int, int]) -> Events:
    """Decodes the words of a recording in the EVT 2.0 format.

    What comes before the first upper time has no time and is left out, as are triggers and
    extensions. Times may pass the end of their 34 bits.

    Args:
        content: The whole file.
        start: Where its words begin.
        name: What error messages call it.
        sensor: Width and height.

    Returns:
        Its events; row 0 is the highest.

    Raises:
        CorruptRecordingError: If it is damaged.
    """
    check_whole(name, content, start, 4, "a word")
    words = np.frombuffer(content, "<u4", offset=start)
    types = words >> 28
    unknown = ~np.isin(types, _TYPES)
    if unknown.any():
        position = int(np.argmax(unknown))
        raise corrupt(
            name,
            f"word {position} at byte {start + 4 * position} has the type "
            f"{int(types[position])}, which EVT 2.0 does not know",
        )
    is_high = types == _TIME_HIGH
    is_event = types <= _BRIGHTER
    if is_event.any() and not is_high.any():
        raise corrupt(name, "has events but no word with the upper bits of their time")
    highs = (words[is_high] & ((1 << _TIME_HIGH_BITS) - 1)).astype(np.int64)
    wraps = np.diff(highs, prepend=highs[:1]) < -(1 << (_TIME_HIGH_BITS - 1))
    highs += np.cumsum(wraps) << _TIME_HIGH_BITS
    which = np.cumsum(is_high) - 1
    is_event &= which >= 0
    at = np.flatnonzero(is_event)
    events = words[at]
    return build_events(
        name,
        lambda number: start + 4 * int(at[number]),
        highs[which[at]] << 6 | (events >> 22 & 0x3F).astype(np.int64),
        (events >> 11 & 0x7FF).astype(np.int32),
        (events & 0x7FF).astype(np.int32),
        types[at] == _BRIGHTER,
        sensor,
    )
