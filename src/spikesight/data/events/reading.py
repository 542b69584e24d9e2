"""Recordings of event cameras from files, whatever their format."""

from __future__ import annotations

from pathlib import Path

from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.aedat import parse_aedat
from spikesight.data.events.dat import parse_dat
from spikesight.data.events.event_stream import parse_event_stream
from spikesight.data.events.n_mnist import parse_n_mnist
from spikesight.data.events.raw import parse_raw
from spikesight.data.events.recording import Events
from spikesight.data.events.stored import parse_npz
from spikesight.files.limits import RECORDING_BYTES
from spikesight.files.opening import read_bytes

RECORDING_SUFFIXES = frozenset({".es", ".raw", ".dat", ".aedat", ".aedat4", ".bin", ".npz"})


def read_events(path: str | Path, sensor: tuple[int, int] | None = None) -> Events:
    """Reads a recording of an event camera.

    `.es` is Event Stream 2 (DVS), `.raw` Prophesee's EVT 2.0 or 3.0, `.dat` its decoded events
    (GEN1, N-CARS), `.aedat` and `.aedat4` AEDAT 2.0 of a DVS128 (CIFAR10-DVS), 3.1 (DVS128
    Gesture) or 4.0, `.bin` N-MNIST and N-Caltech101, `.npz` what `save_events` wrote.

    Args:
        path: The file; its suffix says the format.
        sensor: Width and height where the file does not state them (all but `.es`
            and `.npz`).

    Returns:
        All its events.

    Raises:
        CorruptRecordingError: If the file cannot be read, is damaged or of an unknown version.
        DataError: If the suffix is unknown.
        MissingPackageError: If AEDAT 4.0 is compressed and the extra `events` is not installed.
    """
    name, suffix = str(path), Path(path).suffix.lower()
    if suffix not in RECORDING_SUFFIXES:
        raise DataError(
            f"{path}: is no recording by its suffix; pass a file ending in "
            f"{', '.join(sorted(RECORDING_SUFFIXES))}"
        )
    content = read_bytes(path, RECORDING_BYTES, CorruptRecordingError)
    match suffix:
        case ".es":
            return parse_event_stream(content, name)
        case ".raw":
            return parse_raw(content, name, sensor)
        case ".dat":
            return parse_dat(content, name, sensor)
        case ".aedat" | ".aedat4":
            return parse_aedat(content, name, sensor)
        case ".bin":
            return parse_n_mnist(content, name, sensor)
        case _:
            return parse_npz(content, name)
