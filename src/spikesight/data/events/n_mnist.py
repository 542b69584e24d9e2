"""Recordings of N-MNIST and N-Caltech101 (.bin).

An event has 40 bits, big-endian: column (8), row (8), polarity (1), microseconds (23). An event in
row 240 is none: it says that 8192 microseconds have to be added from there on (Orchard et al.,
Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015, and the
data sets' reading scripts).
"""

from __future__ import annotations

import numpy as np

from spikesight.data.events.recording import Events, build_events, check_whole

N_MNIST_SENSOR = (34, 34)
_OVERFLOW_ROW = 240
_OVERFLOW = 1 << 13
_EVENT = 5


def parse_n_mnist(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Events:
    """Reads a recording of N-MNIST, or of N-Caltech101 with its sensor's size.

    Args:
        content: The whole file.
        name: What error messages call it.
        sensor: Width and height; if omitted, N-MNIST's 34 x 34. N-Caltech101 has (240, 180).

    Returns:
        Its events; row 0 is the highest.

    Raises:
        CorruptRecordingError: If it is damaged or of another sensor.
    """
    check_whole(name, content, 0, _EVENT)
    data = np.frombuffer(content, np.uint8).reshape(-1, _EVENT).astype(np.int64)
    overflows = data[:, 1] == _OVERFLOW_ROW
    times = (data[:, 2] & 0x7F) << 16 | data[:, 3] << 8 | data[:, 4]
    times += np.cumsum(overflows) * _OVERFLOW
    at = np.flatnonzero(~overflows)
    return build_events(
        name,
        lambda number: _EVENT * int(at[number]),
        times[at],
        data[at, 0],
        data[at, 1],
        data[at, 2] >= 128,
        sensor or N_MNIST_SENSOR,
    )
