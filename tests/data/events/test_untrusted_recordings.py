"""Recordings that state sensors, shapes or sizes that cannot be."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.data import CorruptRecordingError, DataError
from spikesight.data.events import Events, event_frames, read_events
from spikesight.data.events.layouts import find_event_parts
from spikesight.files.limits import EVENTS, RECORDING_BYTES, SENSOR_PIXELS

COUNT = 20
SOUND: dict[str, Any] = {
    "t": np.arange(COUNT),
    "x": np.zeros(COUNT, np.uint16),
    "y": np.zeros(COUNT, np.uint16),
    "polarity": np.zeros(COUNT, bool),
    "sensor": np.array([34, 34, 0]),
}


def npz(folder: Path, **changes: Any) -> Path:
    fields = {name: value for name, value in (SOUND | changes).items() if value is not None}
    np.savez_compressed(folder / "r.npz", **fields)
    return folder / "r.npz"


@pytest.mark.parametrize(
    "changes",
    [
        {"sensor": np.array([1, 2, 0], "M8[s]")},
        {"sensor": np.array([np.nan, 1, 0])},
        {"sensor": np.array([np.inf, 1, 0])},
        {"sensor": np.array([3.5, 9, 0])},
        {"sensor": np.array([-3, 9, 0])},
        {"sensor": np.array([0, 0, 0])},
        {"sensor": np.array([34 + 1j, 34, 0])},
        {"sensor": np.array([2**62, 2**62, 1])},
        {"sensor": np.array([60_000, 60_000, 1])},
        {"sensor": np.array([34, 34])},
        {"sensor": np.array(34)},
        {"sensor": None},
        {"x": np.zeros((COUNT, 2))},
        {"t": np.zeros((COUNT, 2), np.int64)},
        {"t": np.array(5)},
        {"t": np.full(COUNT, 2**62)},
        {"t": np.arange(COUNT) - 2**62},
        {"t": np.array(["1"] * COUNT)},
        {"x": np.array([object()] * COUNT)},
        {"y": np.zeros(COUNT - 1)},
        {"x": np.full(COUNT, np.nan)},
        {"polarity": np.array(["up"] * COUNT)},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_arrays_that_cannot_be_are_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptRecordingError, match=r"r\.npz: "):
        read_events(npz(tmp_path, **changes))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("seed", range(8))
def test_damaged_npz_is_named(tmp_path: Path, method: int, seed: int) -> None:
    with zipfile.ZipFile(tmp_path / "r.npz", "w", method) as archive:
        for name, value in SOUND.items():
            stream = io.BytesIO()
            np.save(stream, value)
            archive.writestr(f"{name}.npy", stream.getvalue())
    assert len(read_events(tmp_path / "r.npz")) == COUNT
    content = bytearray((tmp_path / "r.npz").read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(30, len(content), 12):
        content[place] ^= int(random.integers(1, 256))
    (tmp_path / "r.npz").write_bytes(content)
    try:
        read_events(tmp_path / "r.npz")
    except CorruptRecordingError as error:
        named = "r.npz: " in str(error)
        assert named, error  # noqa: PT017  some damage is not seen, as in a time of the zip file


def test_an_array_that_states_more_than_it_holds(tmp_path: Path) -> None:
    for shape in ((10**12,), (-1,), (2**40, 2**40), (COUNT + 1,), (COUNT - 1,)):
        stream = io.BytesIO()
        head = {"descr": "<i8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, head)
        with zipfile.ZipFile(npz(tmp_path, t=None), "a") as archive:
            archive.writestr("t.npy", stream.getvalue() + SOUND["t"].astype("<i8").tobytes())
        with pytest.raises(CorruptRecordingError, match=r"r\.npz: .*t\.npy states"):
            read_events(tmp_path / "r.npz")


def test_limits_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path)
    for limit, value in ((EVENTS, 19), (SENSOR_PIXELS, 34 * 34 - 1), (RECORDING_BYTES, 100)):
        with monkeypatch.context() as changed:
            changed.setenv(limit.variable, str(value))
            with pytest.raises(CorruptRecordingError, match=rf"r\.npz: .*{limit.variable}"):
                read_events(path)
    zeros = npz(tmp_path, t=np.zeros(1 << 17, np.int64))
    monkeypatch.setenv(RECORDING_BYTES.variable, str(1 << 19))
    with pytest.raises(CorruptRecordingError, match=r"r\.npz: 1,048,704 bytes of a recording"):
        read_events(zeros)


def raw(folder: Path, geometry: bytes) -> Path:
    words = np.array([8 << 28 | 5, 1 << 28 | 3 << 11 | 2], "<u4").tobytes()
    (folder / "r.raw").write_bytes(b"% evt 2.0\n% " + geometry + b"\n% end\n" + words)
    return folder / "r.raw"


@pytest.mark.parametrize(
    "geometry",
    [
        b"geometry " + b"9" * 5000 + b"x3",
        b"geometry 99999999999999999999x9",
        b"geometry 60000x60000",
        b"geometry 0x0",
        b"geometry 000000000000x4",
        b"format EVT2;width=99999999999;height=99999999999",
        b"geometry \xb2x\xb2",
    ],
)
def test_sensors_of_raw_files(tmp_path: Path, geometry: bytes) -> None:
    with pytest.raises(CorruptRecordingError, match=r"r\.raw: "):
        read_events(raw(tmp_path, geometry))


def test_frames_are_limited() -> None:
    events = Events(np.arange(3), *(np.zeros(3, np.int32),) * 2, np.ones(3, bool), 2**20, 2**20)
    with pytest.raises(DataError, match="8 frames of 1048576 x 1048576 pixels, which size"):
        event_frames(events, 8)
    assert event_frames(events, 8, size=4).shape == (8, 2, 4, 4)
    with pytest.raises(DataError, match="1000000000 frames"):
        event_frames(events, 10**9, size=4)


def test_layouts_know_parts_and_leave_hidden_folders_out(tmp_path: Path) -> None:
    for part in ("TRAINING", "testing"):
        for place in ("x", "y", ".git", "@eaDir"):
            folder = tmp_path / part / place
            folder.mkdir(parents=True)
            npz(folder)
            (folder / "._r.npz").write_bytes(b"junk")
    parts = find_event_parts("event_folders", tmp_path)
    assert list(parts) == ["train", "test"]
    source = parts["train"]()
    assert (source.classes, len(source.labels)) == (["x", "y"], 2)


def test_lists_of_trials_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "trials_to_train.txt").write_bytes(b"\xef\xbb\xbf../user.aedat\r\n")
    with pytest.raises(DataError, match=r"trials_to_train\.txt: the name \.\./user\.aedat leads"):
        find_event_parts("dvs128_gesture", tmp_path)["train"]()
    (tmp_path / "trials_to_train.txt").write_bytes(b"\xef\xbb\xbfuser.aedat\r\n")
    (tmp_path / "user.aedat").touch()
    for content in (b"class,startTime_usec,endTime_usec\r\n1,0,9" + b"9" * 30, b"\xff\xfe", b""):
        (tmp_path / "user_labels.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"user_labels\.csv|lists no recording"):
            find_event_parts("dvs128_gesture", tmp_path)["train"]()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes")
def test_a_pipe_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.es")
    with pytest.raises(CorruptRecordingError, match=r"r\.es: is a named pipe"):
        read_events(tmp_path / "r.es")
