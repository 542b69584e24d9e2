"""Events as NumPy files (.npz), which this library writes and reads."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

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
        x=events.x.astype(np.uint16),
        y=events.y.astype(np.uint16),
        polarity=events.polarity,
        sensor=np.array([events.width, events.height, origin]),
    )


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
    lengths = {len(np.atleast_1d(field)) for field in (t, x, y, polarity)}
    if len(lengths) != 1 or sensor.shape != (3,):
        raise corrupt(name, "holds arrays of different lengths")
    origin: Origin = "lower left" if sensor[2] else "upper left"
    size = (int(sensor[0]), int(sensor[1]))
    x, y = x.astype(np.int64), y.astype(np.int64)
    return build_events(name, lambda number: number, t, x, y, polarity, size, origin)
