"""Events as NumPy files (.npz), which this library writes and reads."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.recording import (
    Events,
    Origin,
    build_events,
    corrupt,
)
from spikesight.errors import UserError
from spikesight.files.limits import RECORDING_BYTES
from spikesight.files.names import show
from spikesight.files.npy import read_npy

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

    Raises:
        CorruptRecordingError: If it is no such file, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            stored = {field: _read_array(archive, f"{field}.npy", name) for field in _FIELDS}
    except DataError:
        raise
    # A damaged zip file fails in any way that its parts and compressions can.
    except Exception as error:
        raise corrupt(
            name, f"is no file of events with {', '.join(_FIELDS)} inside ({show(str(error))})"
        ) from error
    t, x, y, polarity, sensor = (stored[field] for field in _FIELDS)
    if t.ndim != 1:
        raise corrupt(name, f"has times of shape {t.shape}, not one per event")
    if sensor.shape != (3,):
        raise corrupt(name, f"has a sensor of shape {sensor.shape}, not width, height and origin")
    if not np.isfinite(sensor).all() or (sensor != np.floor(sensor)).any():
        raise corrupt(name, "states a sensor that is not in whole pixels")
    origin: Origin = "lower left" if sensor[2] else "upper left"
    size = (int(sensor[0]), int(sensor[1]))
    return build_events(name, lambda number: number, t, x, y, polarity, size, origin)


def _read_array(archive: zipfile.ZipFile, member: str, name: str) -> NDArray[Any]:
    """An array of numbers, of which no more is unpacked than its head states."""
    entry = archive.getinfo(member)
    RECORDING_BYTES.check(entry.file_size, show(name), CorruptRecordingError)
    with archive.open(entry) as stream:
        try:
            return read_npy(stream, entry.file_size)  # type: ignore[arg-type]
        except UserError as error:
            raise UserError(f"{member} {error}") from error
