"""Prophesee's EVT 3.0 and .dat, and iniVation's AEDAT 4.0."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from spikesight.data import CorruptRecordingError
from spikesight.data.events import Events, evt3, read_events
from spikesight.data.events.aedat import parse_aedat
from spikesight.data.events.aedat4 import parse_aedat4
from spikesight.data.events.dat import parse_dat
from spikesight.data.events.raw import parse_raw
from spikesight.errors import MissingPackageError
from spikesight.files.limits import EVENTS, RECORDING_BYTES

from .files import (
    INFO,
    assert_same,
    encode_aedat2,
    encode_aedat4,
    encode_dat,
    encode_evt2,
    encode_evt3,
    random_events,
    write,
)

FILES = Path(__file__).parents[4] / "shared" / "data" / "event-files"
HEAD = b"% evt 3.0\n% geometry 2048x2048\n"


def crowded_events(count: int, seed: int, longest: int = 3000, first: int = 0) -> Events:
    """Several events of a time and row, with ascending columns, as vectors hold them."""
    events = random_events(count, 60, 3, seed, longest, first)
    t = np.repeat(events.t[::9], 9)[:count] if count else events.t
    places = np.unique(np.stack([t, events.y, events.polarity, events.x], 1), axis=0)
    return Events(places[:, 0], places[:, 3], places[:, 1], places[:, 2], 60, 3)


@given(st.integers(0, 80), st.integers(0, 99), st.integers(0, 20_000))
def test_evt3(count: int, seed: int, longest: int) -> None:
    events = crowded_events(count, seed, longest)
    assert_same(parse_raw(encode_evt3(events), "a.raw"), events)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_evt3_across_chunks_and_the_end_of_its_time(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evt3, "_CHUNK", chunk)
    events = crowded_events(300, 1, first=5 << 12)
    assert events.duration > 1 << 13
    read = parse_raw(encode_evt3(events, high=4096 - 5), "a.raw")
    assert_same(read, Events(events.t - (5 << 12), *places(events)))
    read = parse_raw(encode_evt3(events, high=4096 - 6), "a.raw")
    assert_same(read, Events(events.t + (4090 << 12), *places(events)))


def places(events: Events) -> tuple[Any, ...]:
    return events.x, events.y, events.polarity, events.width, events.height


def slow_evt3(words: NDArray[np.uint16]) -> list[tuple[int, int, int, int]]:
    """Time, column, row and polarity, word by word."""
    found = []
    row = base = high = None
    low = polarity = 0
    for word in words.tolist():
        kind, value = word >> 12, word & 0xFFF
        if kind == 0:
            row = value & 0x7FF
        elif kind == 3:
            base, polarity = value & 0x7FF, value >> 11
        elif kind == 6:
            low = value
        elif kind == 8:
            if high is not None and value != high & 0xFFF:
                low = 0
            over = 0 if high is None else (high >> 12) + (high % 4096 - value >= 2048)
            high = value + (over << 12)
        elif kind in (2, 4, 5):
            known = high is not None and row is not None
            if kind == 2:
                events = [(value & 0x7FF, value >> 11)]
            elif base is None:
                events = []
            else:
                width = 12 if kind == 4 else 8
                events = [(base + i, polarity) for i in range(width) if value >> i & 1]
                base += width
            if known:
                assert high is not None
                assert row is not None
                found += [(high << 12 | low, x, row, p) for x, p in events]
    return found


@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([1, 5, 1 << 20]))
def test_evt3_word_by_word(seed: int, count: int, chunk: int) -> None:
    random = np.random.default_rng(seed)
    kinds = random.choice([0, 2, 3, 4, 5, 6, 7, 8, 10, 14, 15], count)
    words = (kinds << 12 | random.integers(0, 4096, count)).astype(np.uint16)
    # Times never run backwards, but for the overflow.
    for kind, most in ((6, 4096), (8, 1 << 20)):
        times = np.sort(random.integers(0, most, int((kinds == kind).sum())))
        words[kinds == kind] = kind << 12 | times % 4096
    state = evt3._State()
    parts = [
        np.stack(evt3._decode(part >> 12, (part & 0xFFF).astype(np.int64), state)[1:], 1)
        for part in (words[i : i + chunk] for i in range(0, count, chunk))
    ]
    read = [tuple(event) for part in parts for event in part.tolist()]
    assert read == slow_evt3(words)


def test_evt3_bits_by_hand() -> None:
    # Upper time 1, lower 2; row 7; a vector from column 100, brighter, then a single darker event.
    words = [0x8001, 0x6002, 0x0007, 0x3800 | 100, 0x4801, 0x5002, 0x2000 | 9]
    read = parse_raw(HEAD + np.array(words, "<u2").tobytes(), "a.raw")
    assert read.t.tolist() == [4098] * 4
    assert read.x.tolist() == [100, 111, 113, 9]
    assert read.y.tolist() == [7] * 4
    assert read.polarity.tolist() == [True, True, True, False]


@given(st.integers(0, 60), st.integers(0, 99), st.integers(0, 5000))
def test_dat(count: int, seed: int, longest: int) -> None:
    events = random_events(count, 1280, 720, seed, longest)
    assert_same(parse_dat(encode_dat(events), "a.dat"), events)


def test_dat_of_old_versions_and_without_a_header() -> None:
    events = random_events(200, 304, 240)
    for header in ("Version 1", "Date 2014-01-01", None):
        assert_same(parse_dat(encode_dat(events, header, old=True), "a.dat"), events)
    headerless = encode_dat(random_events(200, 640, 480), None)
    with pytest.raises(CorruptRecordingError, match="does not state its sensor"):
        parse_dat(headerless, "a.dat")
    assert_same(parse_dat(headerless, "a.dat", (640, 480)), random_events(200, 640, 480))


def test_dat_time_passes_32_bits() -> None:
    events = random_events(50, 304, 240, longest=100, first=(1 << 32) - 1000)
    assert events.t[0] < 1 << 32 <= events.t[-1]
    assert_same(parse_dat(encode_dat(events), "a.dat"), events)


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("table", [True, False])
def test_aedat4(compression: int, table: bool, tmp_path: Path) -> None:
    events = random_events(50, 346, 260, longest=10**6, first=1605537493718345)
    content = encode_aedat4(events, compression, table=table)
    for suffix in ("aedat4", "aedat"):
        assert_same(read_events(write(tmp_path / f"a.{suffix}", content)), events)
    assert len(parse_aedat4(encode_aedat4(random_events(0, 9, 9), compression), "a")) == 0


def test_aedat4_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode_aedat4(random_events(5, 9, 9), 1)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(MissingPackageError, match=r"a: .*package lz4; .*spikesight\[events\]"):
        parse_aedat4(content, "a")


def test_aedat4_bombs_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for compression in (1, 3):
        content = encode_aedat4(random_events(9000, 9, 9, longest=0), compression, packet=9000)
        for limit, value in ((RECORDING_BYTES, 100_000), (EVENTS, 8999)):
            with monkeypatch.context() as changed:
                changed.setenv(limit.variable, str(value))
                with pytest.raises(CorruptRecordingError, match=limit.variable):
                    parse_aedat4(content, "a")


def test_aedat2_of_another_camera() -> None:
    events = random_events(3, 128, 128)
    header = b"# AEChip: eu.seebetter.ini.chips.davis.Davis346red\r\n"
    first, _, rest = encode_aedat2(events).partition(b"\r\n")
    with pytest.raises(CorruptRecordingError, match="is a recording of a Davis346red"):
        parse_aedat(first + b"\r\n" + header + rest, "a.aedat")
    header = b"# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    assert_same(parse_aedat(first + b"\r\n" + header + rest, "a.aedat"), events)


def dat(kind: int, size: int = 8) -> bytes:
    return b"% Version 2\n% Width 9\n% Height 9\n" + bytes([kind, size])


TINY = random_events(3, 9, 9)
AEDAT4 = encode_aedat4(TINY)
BACKWARDS = np.array([0x8009, 0x0001, 0x2001, 0x8008, 0x2001], "<u2").tobytes()


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".raw", HEAD + b"abc", "1 bytes into a word of 2"),
        (".raw", HEAD + b"\0\x10", "word 0 at byte 31 has the type 1, which EVT 3.0"),
        (".raw", HEAD + BACKWARDS, r"event 1 \(byte 39\) runs back in time"),
        (".raw", b"% format EVT21;width=9;height=9\n", "EVT format 21 and only 2.0 and 3.0"),
        (".raw", b"% evt 3.0\n", r"pass sensor=\(width, height\)"),
        (".dat", b"% Version 2\n\0", "before the type of its events"),
        (".dat", dat(14), r"events of type 14 \(external triggers\) and 8 bytes"),
        (".dat", dat(0, 12), r"only the types 0 \(2D\) and 12 \(CD\) of 8 bytes"),
        (".dat", b"% Version 3\n\0\x08", "version 3 of DAT"),
        (".dat", dat(0) + bytes(9), "1 bytes into an event of 8"),
        (".dat", dat(0) + struct.pack("<II", 1, 9), "column 9, row 0, outside of the sensor"),
        (".dat", dat(0) + struct.pack("<IIII", 9, 0, 5, 0), r"event 1 \(byte 43\) runs back"),
        (".aedat4", b"#!AER-DAT3.1\r\n", "does not begin with '#!AER-DAT4.0'"),
        (".aedat4", AEDAT4[:17], "in the header"),
        (".aedat4", AEDAT4[:300], "has a header of"),
        (".aedat4", AEDAT4[:18] + bytes(8) + AEDAT4[26:], "a damaged header"),
        (".aedat4", AEDAT4[:-30], "its packets end at byte"),
        (".aedat4", encode_aedat4(TINY, table=False)[:-9], "packets end at byte"),
        (".aedat4", encode_aedat4(TINY, table=False) + b"abc", "is cut off at byte"),
        (".aedat4", AEDAT4.replace(b"EVTS\x06", b"EVTT\x06"), "packet at byte .* is damaged"),
        (".aedat4", encode_aedat4(TINY, info="<dv></dv>"), "has 0 streams of events"),
        (".aedat4", encode_aedat4(TINY, info="<!DOCTYPE x><dv/>"), "with declarations"),
        (".aedat4", encode_aedat4(TINY, info="<dv>"), "does not describe its streams"),
        (".aedat4", encode_aedat4(TINY, info=INFO.replace('"5"', '"x"')), "by no number"),
        (".aedat4", encode_aedat4(TINY, info=INFO.replace("sizeY", "size")), "pass sensor="),
    ],
)
def test_malformed_files(suffix: str, content: bytes, message: str, tmp_path: Path) -> None:
    if suffix == ".aedat4" and "begin" in message:
        with pytest.raises(CorruptRecordingError, match=message):
            parse_aedat4(content, "a")
        return
    path = write(tmp_path / f"recording{suffix}", content)
    with pytest.raises(CorruptRecordingError, match=message) as caught:
        read_events(path)
    assert str(path) in str(caught.value)
    assert "on_corrupt: skip" in str(caught.value)


@given(st.data())
def test_any_bytes_give_events_or_an_error(data: st.DataObject) -> None:
    events = crowded_events(20, 0)
    sound = {
        "raw": [encode_evt3(events), encode_evt2(events)],
        "dat": [encode_dat(events), encode_dat(events, None, old=True)],
        "aedat4": [encode_aedat4(events), encode_aedat4(events, 1), encode_aedat4(events, 3)],
    }
    parsers = {"raw": parse_raw, "dat": parse_dat, "aedat4": parse_aedat4}
    kind = data.draw(st.sampled_from(list(sound)))
    content = bytearray(data.draw(st.sampled_from(sound[kind])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with suppress(CorruptRecordingError):
        assert isinstance(parsers[kind](bytes(content), "damaged"), Events)


@pytest.mark.skipif(not FILES.is_dir(), reason="no real recordings beside this checkout")
@pytest.mark.parametrize(
    ("file", "sensor"),
    [("evt3.raw", None), ("dvxplorer.aedat4", None), ("ncars.dat", (120, 100))],
)
def test_real_files_against_their_references(file: str, sensor: tuple[int, int] | None) -> None:
    events = read_events(FILES / file, sensor)
    reference = np.load(FILES / f"{Path(file).stem}-decoded.npz")
    t = reference["t"]
    if file == "evt3.raw":
        # The reference takes every lower time below the one before for an overflow and adds
        # 4096 us: in 9 places the camera wrote one ahead of its turn, and 2 overflows are in the
        # upper times already, which move on by 2 in all.
        assert events.duration < 3 * 4096
        assert set(np.diff(events.t).tolist()) == {0, 1}
        assert set(np.diff(t - events.t).tolist()) == {0, 4096}
        t = events.t + (t - events.t) % 4096
    for values, name in ((events.t, "t"), (events.x, "x"), (events.y, "y")):
        np.testing.assert_array_equal(values, t if name == "t" else reference[name], name)
    np.testing.assert_array_equal(events.polarity, reference["p"] == 1)


@pytest.mark.skipif(not FILES.is_dir(), reason="no real recordings beside this checkout")
def test_a_header_without_events_names_its_camera() -> None:
    with pytest.raises(CorruptRecordingError, match="is a recording of a Davis346red"):
        read_events(FILES / "aedat2-header-only.aedat")
