"""Events as NumPy files (.npz), which this library writes and reads."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.data.events.recording import Events, Origin, build_events, corrupt

_FIELDS = ("t", "x", "y", "polarity", "sensor")


def save_events(events: Events, path: str | Path) -> None:
    """Writes events as a compressed NumPy file.

    Args:
        events: What to write.
        path: A file ending in .npz; its folder is made if it does not exist.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = events.origin == "lower left"
    np.savez_compressed(
        path,
        t=events.t,
        x=_compact(events.x, events.width),
        y=_compact(events.y, events.height),
        polarity=events.polarity,
        sensor=np.array([events.width, events.height, origin]),
    )


def _compact(places: NDArray[np.int32], side: int) -> NDArray[Any]:
    return places.astype(np.uint16) if side <= 1 << 16 else places


def parse_npz(content: bytes, name: str) -> Events:
    """Reads what `save_events` wrote.

    Args:
        content: The whole file.
        name: What error messages call it.

    Raises:
        CorruptRecordingError: If it is no such file, or damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            t, x, y, polarity, sensor = (stored[field] for field in _FIELDS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise corrupt(
            name, f"is no file of events with {', '.join(_FIELDS)} inside ({error})"
        ) from error
    if sensor.shape != (3,):
        raise corrupt(name, f"has a sensor of shape {sensor.shape}, not width, height and origin")
    origin: Origin = "lower left" if sensor[2] else "upper left"
    size = (int(sensor[0]), int(sensor[1]))
    return build_events(name, lambda number: number, t, x, y, polarity, size, origin)
