from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from spikesight.data import CorruptRecordingError, DataError
from spikesight.data.events import Events, read_events, save_events
from spikesight.data.events.aedat import parse_aedat
from spikesight.data.events.event_stream import parse_event_stream
from spikesight.data.events.n_mnist import parse_n_mnist
from spikesight.data.events.raw import parse_raw

from .files import (
    assert_same,
    encode_aedat2,
    encode_aedat3,
    encode_es,
    encode_evt2,
    encode_n_mnist,
    random_events,
    write,
)

RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "events"


@given(st.integers(0, 40), st.integers(0, 1000), st.integers(0, 99), st.booleans())
def test_event_stream(count: int, longest: int, seed: int, resets: bool) -> None:
    events = random_events(count, 320, 300, seed, longest)
    read = parse_event_stream(encode_es(events, resets), "a.es")
    assert_same(read, events)
    assert read.origin == "lower left"


def test_event_stream_across_chunks() -> None:
    # Columns and rows of 254 and 255 look like single bytes, and no event is aligned to a chunk.
    events = random_events(20_000, 256, 256, longest=200)
    near = Events(events.t, events.x | 254, events.y | 254, events.polarity, 256, 256)
    assert_same(parse_event_stream(encode_es(near), "a.es"), near)


@given(st.integers(0, 30), st.integers(0, 5000), st.integers(0, 99))
def test_evt2(count: int, longest: int, seed: int) -> None:
    events = random_events(count, 640, 480, seed, longest)
    assert_same(parse_raw(encode_evt2(events), "a.raw"), events)


def test_evt2_time_passes_the_end_of_its_bits() -> None:
    events = random_events(50, 640, 480, longest=64)
    read = parse_raw(encode_evt2(events, high=(1 << 28) - 10), "a.raw")
    assert_same(
        Events(read.t - read.t[0], read.x, read.y, read.polarity, 640, 480),
        Events(events.t - events.t[0], events.x, events.y, events.polarity, 640, 480),
    )


def test_evt2_leaves_out_what_has_no_time_yet() -> None:
    events = random_events(5, 640, 480)
    early = struct.pack("<I", 1 << 28)
    header, _, body = encode_evt2(events).partition(b"480\n")
    assert_same(parse_raw(header + b"480\n" + early + body, "a.raw"), events)


@pytest.mark.parametrize(
    ("header", "sensor"),
    [
        ("evt 2.0\n% geometry 346x260", (346, 260)),
        ("format EVT2;height=720;width=1280\n% end", (1280, 720)),
        ("plugin_name hal_plugin_gen3_fx3\n% evt 2.0", (640, 480)),
        ("plugin_name hal_plugin_imx636\n% evt 2.0", (1280, 720)),
    ],
)
def test_evt2_headers(header: str, sensor: tuple[int, int]) -> None:
    read = parse_raw(encode_evt2(random_events(3, 30, 30), header), "a.raw")
    assert (read.width, read.height) == sensor
    assert len(read) == 3


@given(st.integers(0, 30), st.integers(0, 5000), st.integers(0, 99))
def test_aedat2(count: int, longest: int, seed: int) -> None:
    events = random_events(count, 128, 128, seed, longest)
    read = parse_aedat(encode_aedat2(events), "a.aedat")
    assert_same(read, events)
    assert read.origin == "lower left"


def test_aedat2_time_passes_32_bits() -> None:
    events = random_events(50, 128, 128, longest=100, first=(1 << 32) - 1000)
    assert events.t[0] < 1 << 32 <= events.t[-1]
    assert_same(parse_aedat(encode_aedat2(events), "a.aedat"), events)


@given(st.integers(0, 30), st.integers(0, 99), st.sampled_from([0, 1 << 31]))
def test_aedat3(count: int, seed: int, first: int) -> None:
    events = random_events(count, 128, 128, seed, first=first)
    assert_same(parse_aedat(encode_aedat3(events), "a.aedat"), events)


def test_aedat3_of_another_camera() -> None:
    events = random_events(20, 346, 260)
    assert_same(parse_aedat(encode_aedat3(events, source="DAVIS346"), "a.aedat"), events)
    encoded = encode_aedat3(events, source="Unknown")
    with pytest.raises(CorruptRecordingError, match="pass sensor="):
        parse_aedat(encoded, "a.aedat")
    assert_same(parse_aedat(encoded, "a.aedat", (346, 260)), events)


@given(st.integers(0, 30), st.integers(0, 20_000), st.integers(0, 99))
def test_n_mnist(count: int, longest: int, seed: int) -> None:
    events = random_events(count, 34, 34, seed, longest)
    assert_same(parse_n_mnist(encode_n_mnist(events), "a.bin"), events)


def test_n_mnist_bits_by_hand() -> None:
    # x 3, y 5, brighter, t = 0x123456 us
    events = parse_n_mnist(bytes([3, 5, 0x80 | 0x12, 0x34, 0x56]), "a.bin")
    assert (events.x[0], events.y[0], events.polarity[0], events.t[0]) == (3, 5, True, 0x123456)


@pytest.mark.parametrize("origin", ["upper left", "lower left"])
def test_stored_events(tmp_path: Path, origin: str) -> None:
    events = random_events(50, 40, 30)
    events = Events(events.t, events.x, events.y, events.polarity, 40, 30, origin)  # type: ignore[arg-type]
    save_events(events, tmp_path / "new" / "a.npz")
    read = read_events(tmp_path / "new" / "a.npz")
    assert_same(read, events)
    assert read.origin == origin


def es_with(x: int = 0, t: bytes = b"\x02") -> bytes:
    return encode_es(random_events(2, 8, 8)) + t + struct.pack("<HH", x, 0)


def swapped(encoded: bytes, size: int, head: int) -> bytes:
    return encoded[:head] + encoded[head + size : head + 2 * size] + encoded[head : head + size]


AT_5_AND_9 = Events(np.array([5, 9]), np.array([1, 2]), np.array([3, 4]), np.array([0, 1]), 34, 34)
EVT2_HEAD = b"% evt 2.0\n% geometry 64x64\n"


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".es", b"Event Strea", "does not begin with 'Event Stream'"),
        (".es", b"Event Stream\x02\x00", "ends at byte 14, inside the header"),
        (".es", b"Event Stream\x01" + bytes(9), "version 1.0.0"),
        (".es", b"Event Stream\x02\x00\x00\x02" + bytes(9), "type 2"),
        (".es", encode_es(random_events(9, 8, 8))[:-1], "event 8 at byte .* is cut off"),
        (".es", es_with(x=8), r"event 2 \(byte \d+\) lies at column 8, row 0, outside .* 8 x 8"),
        (".raw", b"hello", "does not begin with a '%'"),
        (".raw", b"% date 1\n", "does not state its EVT version"),
        (".raw", b"% evt 4.0\n", "EVT format 4.0 and only 2.0 and 3.0"),
        (".raw", b"% format EVT21;height=9;width=9\n", "EVT format 21"),
        (".raw", b"% evt 2.0\n", r"pass sensor=\(width, height\)"),
        (".raw", EVT2_HEAD + b"abcde", "1 bytes into a word"),
        (".raw", EVT2_HEAD + struct.pack("<I", 3 << 28), "word 0 at byte 27 has the type 3"),
        (".raw", EVT2_HEAD + struct.pack("<I", 0), "no word with the upper bits"),
        (".raw", EVT2_HEAD + struct.pack("<II", 8 << 28, 64), "row 64, outside .* 64 x 64"),
        (
            ".raw",
            EVT2_HEAD + struct.pack("<III", 8 << 28, 9 << 22, 5 << 22),
            r"event 1 \(byte 35\) runs back in time, from 9 to 5",
        ),
        (".aedat", b"AER", "does not begin with '#!AER-DAT'"),
        (".aedat", b"#!AER-DAT4.0\r\n", "version 4.0 of AEDAT"),
        (".aedat", encode_aedat2(AT_5_AND_9)[:-3], "5 bytes into an event of 8"),
        (".aedat", b"#!AER-DAT2.0\r\n" + struct.pack(">II", 1 << 20, 0), "0x100000"),
        (
            ".aedat",
            b"#!AER-DAT2.0\r\n" + struct.pack(">IIII", 0, 9, 0, 5),
            r"event 1 \(byte 22\) runs back in time, from 9 to 5",
        ),
        (".aedat", encode_aedat3(AT_5_AND_9)[:-1], "the file ends at byte"),
        (".aedat", encode_aedat3(AT_5_AND_9) + b"1234", "packet at byte .* is cut off"),
        (
            ".aedat",
            encode_aedat3(random_events(3, 200, 3, seed=2), source="DVS128"),
            "outside of the sensor of 128 x 128",
        ),
        (
            ".aedat",
            b"#!AER-DAT3.1\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
            + struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1, 5, 5),
            "states 5 of 1 events",
        ),
        (".bin", b"1234", "4 bytes into an event of 5"),
        (".bin", bytes([34, 0, 0, 0, 0]), "column 34, row 0, outside .* 34 x 34"),
        (".bin", swapped(encode_n_mnist(AT_5_AND_9), 5, 0), r"event 1 \(byte 5\) runs back"),
        (".npz", b"zip", "is no file of events"),
    ],
)
def test_malformed_files(suffix: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"recording{suffix}", content)
    with pytest.raises(CorruptRecordingError, match=message) as caught:
        read_events(path)
    assert str(path) in str(caught.value)
    assert "on_corrupt: skip" in str(caught.value)


@given(st.data())
def test_any_bytes_give_events_or_an_error(data: st.DataObject) -> None:
    parsers = {
        parse_event_stream: encode_es(AT_5_AND_9),
        parse_raw: encode_evt2(AT_5_AND_9),
        parse_aedat: data.draw(
            st.sampled_from([encode_aedat2(AT_5_AND_9), encode_aedat3(AT_5_AND_9)])
        ),
        parse_n_mnist: encode_n_mnist(AT_5_AND_9),
    }
    parser = data.draw(st.sampled_from(list(parsers)))
    content = bytearray(parsers[parser])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with suppress(CorruptRecordingError):
        assert isinstance(parser(bytes(content), "damaged"), Events)  # type: ignore[operator]


def test_npz_with_damaged_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    fields = {name: np.arange(3) for name in ("t", "x", "y", "polarity")}
    np.savez(path, **fields, sensor=np.array([2, 9, 0]))
    with pytest.raises(CorruptRecordingError, match="column 2, row 2, outside"):
        read_events(path)
    np.savez(path, **{**fields, "x": np.arange(2)}, sensor=np.array([9, 9, 0]))
    with pytest.raises(CorruptRecordingError, match="different lengths"):
        read_events(path)
    np.savez(path, **{**fields, "t": np.array(5)}, sensor=np.array([9, 9, 0]))
    with pytest.raises(CorruptRecordingError, match=r"a\.npz: has times of shape \(\)"):
        read_events(path)
    np.savez(path, t=np.arange(3))
    with pytest.raises(CorruptRecordingError, match="no file of events"):
        read_events(path)


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no recording by its suffix"):
        read_events(tmp_path / "photo.png")
    with pytest.raises(DataError, match="check that it exists"):
        read_events(tmp_path / "nowhere.es")


def test_arrays_that_are_no_events() -> None:
    t, x = np.arange(3), np.zeros(3)
    with pytest.raises(DataError, match="four arrays of one length"):
        Events(t, x[:2], x, x, 4, 4)
    with pytest.raises(DataError, match="event 1 runs back in time"):
        Events(t[::-1], x, x, x, 4, 4)
    with pytest.raises(DataError, match="event 2 lies at column 4"):
        Events(t, x + np.array([0, 0, 4]), x, x, 4, 4)
    with pytest.raises(DataError, match="0 x 4"):
        Events(t, x, x, x, 0, 4)


def test_parts_of_a_recording() -> None:
    events = random_events(100, 9, 9)
    middle = events.between(int(events.t[20]), int(events.t[60]))
    assert set(middle.t.tolist()) == {
        t for t in events.t.tolist() if events.t[20] <= t < events.t[60]
    }
    assert middle.duration == middle.t[-1] - middle.t[0]
    assert events.between(-5, -1).duration == 0


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no real recordings beside this checkout")
@pytest.mark.parametrize(
    ("file", "count", "sensor", "duration"),
    [("dvs.es", 473_225, (320, 240), 999_000), ("evt2.raw", 521_252, (640, 480), 95_871)],
)
def test_real_recordings(file: str, count: int, sensor: tuple[int, int], duration: int) -> None:
    events = read_events(RECORDINGS / file)
    assert (len(events), (events.width, events.height)) == (count, sensor)
    assert events.duration == duration
    assert 0.3 < events.polarity.mean() < 0.7
