"""Prophesee recordings (.raw) in the EVT 3.0 format.

After the header come little-endian words of 16 bits, whose upper 4 bits are the type. A word says
only what changes, so the reader keeps a state: 0 sets the row; 2 is an event by its column and
polarity; 3 sets column and polarity of the vectors that follow; 4 and 5 are vectors, in which every
bit set of 12 or 8 is an event, and which move that column on by as many; 6 and 8 set the lower and
the upper 12 bits of the time; 10 is a trigger, 7, 14 and 15 are extensions (docs.prophesee.ai,
EVT 3.0 Format). An upper time other than the one before begins with a lower time of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesight.data.errors import CorruptRecordingError
from spikesight.data.events.recording import Events, build_events, check_whole, corrupt
from spikesight.files.limits import EVENTS
from spikesight.files.names import show

_ROW, _COLUMN, _BASE, _VECTOR_12, _VECTOR_8, _TIME_LOW, _TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
_TYPES = (_ROW, _COLUMN, _BASE, _VECTOR_12, _VECTOR_8, _TIME_LOW, _TIME_HIGH, 7, 10, 14, 15)
_TIME_BITS = 12  # of the lower and of the upper time
_POLARITY = 32  # bit of a column that holds the polarity
_CHUNK = 1 << 20  # words

_Numbers = NDArray[np.int64]


@dataclass
class _State:
    """What the words so far have set; `None` is not set yet.

    Attributes:
        row: Of the events to come.
        base: Column of the next vector, and its polarity; see `_signed`.
        high: Upper time, with the overflows of its 12 bits above them.
        low: Lower time.
    """

    row: int | None = None
    base: int | None = None
    high: int | None = None
    low: int = 0


def decode_evt3(content: bytes, start: int, name: str, sensor: tuple[int, int]) -> Events:
    """Decodes the words of a recording in the EVT 3.0 format.

    Events before the first upper time, row or column of a vector are left out, as are triggers and
    extensions. Times may pass the end of their 24 bits.

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
    check_whole(name, content, start, 2, "a word")
    words = np.frombuffer(content, "<u2", offset=start)
    state = _State()
    parts: list[tuple[_Numbers, ...]] = [(np.zeros(0, np.int64),) * 5]
    events = 0
    for first in range(0, len(words), _CHUNK):
        chunk = words[first : first + _CHUNK]
        types = (chunk >> 12).astype(np.uint16)
        unknown = ~np.isin(types, _TYPES)
        if unknown.any():
            position = first + int(np.argmax(unknown))
            raise corrupt(
                name,
                f"word {position} at byte {start + 2 * position} has the type "
                f"{int(words[position]) >> 12}, which EVT 3.0 does not know",
            )
        at, *decoded = _decode(types, (chunk & 0xFFF).astype(np.int64), state)
        parts.append((at + first, *decoded))
        events += len(at)
        EVENTS.check(events, show(name), CorruptRecordingError)
    at, t, x, y, polarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    return build_events(
        name, lambda number: start + 2 * int(at[number]), t, x, y, polarity != 0, sensor
    )


def _decode(types: NDArray[np.uint16], payload: _Numbers, state: _State) -> tuple[_Numbers, ...]:
    """Word, time, column, row and polarity of the events of some words; moves the state on."""
    vector = (types == _VECTOR_12) | (types == _VECTOR_8)
    at = np.flatnonzero(vector | (types == _COLUMN))
    time = _times(types, payload, at, state)
    row, state.row = _latest(types == _ROW, payload & 0x7FF, at, state.row)
    single = types[at] == _COLUMN
    column = np.where(single, _signed(payload[at]), _bases(types, payload, at, state))
    width = np.where(types[at] == _VECTOR_8, 8, 12)
    bits = np.where(single, 1, payload[at] & (1 << width) - 1)
    bits[(time < 0) | (row < 0) | (column < 0)] = 0
    which, step = np.nonzero(bits[:, None] >> np.arange(12) & 1)
    column = column[which]
    polarity = column >> _POLARITY
    return at[which], time[which], column - (polarity << _POLARITY) + step, row[which], polarity


def _times(types: NDArray[np.uint16], payload: _Numbers, at: _Numbers, state: _State) -> _Numbers:
    """The time at some words, negative where there is none yet."""
    is_high = types == _TIME_HIGH
    highs = payload[is_high]
    before = highs[:1] if state.high is None else np.array([state.high])
    steps = np.diff(highs, prepend=before[: len(highs)] & (1 << _TIME_BITS) - 1)
    overflows = np.cumsum(steps <= -(1 << _TIME_BITS - 1))
    if len(highs):
        highs = highs + ((before[0] >> _TIME_BITS) + overflows << _TIME_BITS)
    values = payload.copy()
    values[is_high] = highs
    high, state.high = _latest(is_high, values, at, state.high)
    is_low = types == _TIME_LOW
    resets = np.flatnonzero(is_high)[steps != 0]
    is_low[resets], values[resets] = True, 0
    low, last = _latest(is_low, values, at, state.low)
    state.low = last or 0
    return np.where(high < 0, -1, high << _TIME_BITS | low)


def _bases(types: NDArray[np.uint16], payload: _Numbers, at: _Numbers, state: _State) -> _Numbers:
    """Column and polarity of the vectors at some words, negative where there is none yet."""
    moves = np.where(types == _VECTOR_12, 12, np.where(types == _VECTOR_8, 8, 0))
    # Columns that vectors move on by from a word to the last.
    ahead: _Numbers = moves[::-1].cumsum()[::-1]
    values = _signed(payload) + ahead
    before = None if state.base is None else state.base + int(ahead[0])
    base, state.base = _latest(types == _BASE, values, at, before)
    moved: _Numbers = base - ahead[at]
    return moved


def _signed(payload: _Numbers) -> _Numbers:
    """Columns, with the polarity far above them, so that they can grow."""
    signed: _Numbers = payload & 0x7FF | payload >> 11 << _POLARITY
    return signed


def _latest(
    sets: NDArray[np.bool_], values: _Numbers, at: _Numbers, before: int | None
) -> tuple[_Numbers, int | None]:
    """The value that was set last before some words, -1 if none, and the last one of all."""
    table = np.concatenate([[-1 if before is None else before], values[sets]])
    return table[np.cumsum(sets)[at]], before if len(table) == 1 else int(table[-1])
