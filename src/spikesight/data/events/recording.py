"""What an event camera recorded: times, places and polarities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.exact import brighter, whole_places
from spikesight.files.limits import EVENTS, SENSOR_PIXELS
from spikesight.files.names import show
from spikesight.options import check_value

_LONGEST = 1 << 50
"""Microseconds, 35 years: beyond, products of times and slices would leave 64 bits."""
Origin = Literal["upper left", "lower left"]

_LATEST = 1 << 53  # microseconds

SKIPPING = "or pass --on-corrupt skip (data.on_corrupt: skip) to leave such recordings out"


@dataclass(frozen=True, eq=False)
class Events:
    """Events in the order of their times.

    Attributes:
        t: Times in microseconds, int64 `[N]`, never decreasing.
        x: Columns, int32 `[N]`.
        y: Rows, int32 `[N]`, counted from `origin`.
        polarity: True where it became brighter, bool `[N]`; 0 and 1, or -1 and 1, become that.
        width: Columns of the sensor.
        height: Rows of the sensor.
        origin: The corner of pixel (0, 0); frames are drawn upright.

    Raises:
        DataError: If lengths differ, a time or place is no whole number or beyond its type, a
            polarity is none, times run backwards or a pixel lies outside of the sensor.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    polarity: NDArray[np.bool_]
    width: int
    height: int
    origin: Origin = "upper left"

    def __post_init__(self) -> None:
        t, x, y = whole_places("events", self.t, self.x, self.y)
        polarity = brighter("events", self.polarity, len(t))
        for name, values in (("t", t), ("x", x), ("y", y), ("polarity", polarity)):
            object.__setattr__(self, name, values)
        for name in ("width", "height"):
            check_value(f"events: {name}", getattr(self, name), int, DataError)
        check_value("events: origin", self.origin, Origin, DataError)
        if self.width < 1 or self.height < 1:
            raise DataError(
                f"events: a sensor of {self.width} x {self.height} pixels has none; pass width "
                "and height above 0"
            )
        problem = find_problem(self.t, self.x, self.y, self.width, self.height)
        if problem is not None:
            raise DataError(f"events: event {problem[0]} {problem[1]}; correct the arrays")

    def __len__(self) -> int:
        """Number of events."""
        return len(self.t)

    @property
    def duration(self) -> int:
        """Microseconds from the first to the last event; 0 without events."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0

    def select(self, chosen: NDArray[Any] | slice) -> Events:
        """The events that a mask, a slice or ascending positions choose."""
        arrays = {name: getattr(self, name)[chosen] for name in ("t", "x", "y", "polarity")}
        return replace(self, **arrays)

    def between(self, start: int, stop: int) -> Events:
        """The events with start <= t < stop, in microseconds."""
        first, last = np.searchsorted(self.t, [start, stop])
        return self.select(slice(int(first), int(last)))


def find_problem(
    t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], width: int, height: int
) -> tuple[int, str] | None:
    """The first event that cannot be, and what is wrong with it; None if all can.

    Args:
        t: Times `[N]`.
        x: Columns `[N]`.
        y: Rows `[N]`.
        width: Columns of the sensor.
        height: Rows of the sensor.
    """
    if not len(t):
        return None
    problems = []
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        first = int(np.argmax(outside))
        problems.append(
            (
                first,
                f"lies at column {int(x[first])}, row {int(y[first])}, outside of the sensor of "
                f"{width} x {height} pixels",
            )
        )
    backwards = t[1:] < t[:-1]
    if backwards.any():
        first = int(np.argmax(backwards)) + 1
        problems.append((first, f"runs back in time, from {int(t[first - 1])} to {int(t[first])}"))
    elif int(t[-1]) - int(t[0]) > _LONGEST:
        late = int(np.searchsorted(t, int(t[0]) + _LONGEST, side="right"))
        problems.append((late, f"comes {int(t[late]) - int(t[0])} us after the first, decades"))
    return min(problems, default=None)


def build_events(
    name: str,
    byte_of: Callable[[int], int],
    t: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    polarity: NDArray[Any],
    sensor: tuple[int, int],
    origin: Origin = "upper left",
) -> Events:
    """Puts together what a reader parsed, or says which event of the file is wrong.

    Args:
        name: The file.
        byte_of: Position in the file of an event, by its number.
        t: Times in microseconds `[N]`.
        x: Columns `[N]`.
        y: Rows `[N]`.
        polarity: True where it became brighter `[N]`.
        sensor: Its width and height.
        origin: The corner of pixel (0, 0).

    Raises:
        CorruptRecordingError: If a value is none that its type holds, times run backwards or a
            pixel lies outside of the sensor.
    """
    check_sensor(name, *sensor)
    EVENTS.check(np.size(t), show(name), CorruptRecordingError)
    t, x, y = whole_places(name, t, x, y, CorruptRecordingError)
    problem = find_problem(t, x, y, *sensor) or _find_late(t)
    if problem is not None:
        number, text = problem
        raise CorruptRecordingError(
            f"{name}: event {number} (byte {byte_of(number)}) {text}; record or fetch the file "
            f"again, pass the sensor's size if it is another one, {SKIPPING}"
        )
    polarity = brighter(name, polarity, len(t), CorruptRecordingError)
    return Events(t, x, y, polarity, *sensor, origin)


def check_sensor(name: str, width: int, height: int) -> None:
    """Refuses a sensor that cannot be, before room is made for its pixels.

    Raises:
        CorruptRecordingError: It has no pixels, or more than the limit.
    """
    if width < 1 or height < 1:
        raise corrupt(name, f"states a sensor of {width} x {height} pixels, which has none")
    SENSOR_PIXELS.check(width * height, show(name), CorruptRecordingError)


def _find_late(t: NDArray[Any]) -> tuple[int, str] | None:
    """The first event whose time is so far from 0 that arithmetic with it would overflow."""
    if len(t) and not (int(t[0]) >= -_LATEST and int(t[-1]) <= _LATEST):
        first = 0 if int(t[0]) < -_LATEST else int(np.argmax(t > _LATEST))
        return first, f"comes at {int(t[first])} microseconds, which are centuries"
    return None


def check_whole(name: str, content: bytes, start: int, size: int, what: str = "an event") -> None:
    """Refuses a file that ends inside one of its parts, all of `size` bytes from `start` on."""
    rest = (len(content) - start) % size
    if rest:
        raise corrupt(
            name, f"is cut off at byte {len(content)}, {rest} bytes into {what} of {size} bytes"
        )


def corrupt(name: str, problem: str) -> CorruptRecordingError:
    """The error of a file that is damaged or of another kind."""
    return CorruptRecordingError(f"{name}: {problem}; record or fetch the file again, {SKIPPING}")
