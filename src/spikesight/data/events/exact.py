"""Arrays of events in the types that hold them, without changing a value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.data.errors import DataError

_REMEDIES = {
    "t": "pass whole microseconds, such as (seconds * 1e6).round().astype(np.int64)",
    "x": "pass whole columns, such as x.astype(np.int32)",
    "y": "pass whole rows, such as y.astype(np.int32)",
}
_POLARITIES = "pass booleans, 0 and 1, or -1 (darker) and 1 (brighter)"


def whole_places(
    owner: str, t: Any, x: Any, y: Any, error: type[DataError] = DataError
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Times, columns and rows as int64, int32 and int32.

    Args:
        owner: What messages call the events.
        t: Times in microseconds `[N]`.
        x: Columns `[N]`.
        y: Rows `[N]`.
        error: What is raised.

    Raises:
        DataError: If the lengths differ, or a value would change: a fraction, NaN, or a number
            beyond its type; names the array and the event.
    """
    times = _as_array(owner, "t", t, np.size(t), error)
    columns, rows = (_as_array(owner, n, v, len(times), error) for n, v in (("x", x), ("y", y)))
    return (
        _whole(owner, "t", times, np.int64, error),
        _whole(owner, "x", columns, np.int32, error),
        _whole(owner, "y", rows, np.int32, error),
    )


def brighter(
    owner: str, polarity: Any, count: int, error: type[DataError] = DataError
) -> NDArray[np.bool_]:
    """Where it became brighter.

    Args:
        owner: What messages call the events.
        polarity: Booleans, 0 and 1, or -1 and 1 `[N]`.
        count: Number of events N.
        error: What is raised.

    Raises:
        DataError: If there are other values; names the event.
    """
    values = _as_array(owner, "polarity", polarity, count, error)
    if values.dtype.kind == "b" or not len(values):
        return values.astype(np.bool_, copy=False)
    if values.dtype.kind not in "iuf":
        raise error(f"{owner}: polarity holds {values.dtype} and no signs; {_POLARITIES}")
    unknown = (values != 0) & (values != 1) & (values != -1)
    if unknown.any():
        first = int(np.argmax(unknown))
        raise error(f"{owner}: polarity of event {first} is {values[first]}; {_POLARITIES}")
    if (values == 0).any() and (values == -1).any():
        raise error(f"{owner}: polarity holds both 0 and -1, two words for darker; {_POLARITIES}")
    is_brighter: NDArray[np.bool_] = values == 1
    return is_brighter


def _as_array(
    owner: str, name: str, values: Any, count: int, error: type[DataError]
) -> NDArray[Any]:
    if np.ma.is_masked(values):
        raise error(f"{owner}: {name} has masked entries; pass its .compressed() events")
    array = np.asarray(values)
    if array.shape != (count,):
        raise error(
            f"{owner}: {name} has shape {array.shape} beside {count} times, arrays of different "
            "lengths; pass four arrays of one length"
        )
    return array


def _whole(
    owner: str, name: str, values: NDArray[Any], kind: type[np.integer[Any]], error: type[DataError]
) -> NDArray[Any]:
    if values.dtype.kind not in "iuf" and len(values):
        raise error(f"{owner}: {name} holds {values.dtype} and no numbers; {_REMEDIES[name]}")
    if not len(values) or np.can_cast(values.dtype, kind):
        return values.astype(kind, copy=False)
    limits = np.iinfo(kind)
    least, most = limits.min, limits.max
    problems = {}
    if values.dtype.kind == "f":
        # Above its digits a floating-point type skips whole numbers, so they were rounded before.
        digits = np.finfo(values.dtype).nmant + 1
        least, most = max(least, -(2**digits)), min(most, 2**digits)
        problems["is no whole number"] = ~np.isfinite(values) | (values != np.floor(values))
    held = f"is beyond {least}..{most}, which {values.dtype} and {np.dtype(kind)} hold exactly"
    problems[held] = (values < least) | (values > most)
    for problem, wrong in problems.items():
        if wrong.any():
            first = int(np.argmax(wrong))
            raise error(
                f"{owner}: {name} of event {first} is {values[first]}, which {problem}; "
                f"{_REMEDIES[name]}"
            )
    return values.astype(kind)
