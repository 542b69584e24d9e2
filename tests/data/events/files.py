"""Writes recordings in every format, from the formats' definitions."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from spikesight.data.events import Events


def random_events(
    count: int, width: int, height: int, seed: int = 0, longest: int = 300, first: int = 0
) -> Events:
    generator = np.random.default_rng(seed)
    return Events(
        first + np.cumsum(generator.integers(0, longest + 1, count)),
        generator.integers(0, width, count),
        generator.integers(0, height, count),
        generator.integers(0, 2, count),
        width,
        height,
    )


def encode_es(events: Events, resets: bool = False) -> bytes:
    parts = [
        b"Event Stream",
        bytes([2, 0, 0, 1]),
        struct.pack("<HH", events.width, events.height),
    ]
    last = 0
    for t, x, y, polarity in zip(events.t, events.x, events.y, events.polarity, strict=True):
        delta, last = int(t) - last, int(t)
        overflows, rest = divmod(delta, 127)
        parts.append(b"\xff" * overflows + (b"\xfe" if resets else b""))
        parts.append(struct.pack("<BHH", rest << 1 | int(polarity), x, y))
    return b"".join(parts)


def encode_evt2(
    events: Events, header: str = "evt 2.0\n% geometry {w}x{h}", high: int = 0
) -> bytes:
    """`high` is added to the upper 28 bits of the time, which wrap."""
    lines = header.format(w=events.width, h=events.height)
    parts = [f"% {lines}\n".encode()]
    for t, x, y, polarity in zip(events.t, events.x, events.y, events.polarity, strict=True):
        upper = (int(t) // 64 + high) % (1 << 28)
        parts.append(struct.pack("<I", 8 << 28 | upper))
        word = int(polarity) << 28 | int(t) % 64 << 22 | int(x) << 11 | int(y)
        parts.append(struct.pack("<I", word))
        parts.append(struct.pack("<I", 10 << 28 | 5))  # a trigger
    return b"".join(parts)


def encode_aedat2(events: Events) -> bytes:
    parts = [b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n#  created\r\n"]
    for t, x, y, polarity in zip(events.t, events.x, events.y, events.polarity, strict=True):
        address = int(y) << 8 | (127 - int(x)) << 1 | (1 - int(polarity))
        parts.append(struct.pack(">II", address, int(t) % (1 << 32)))
        parts.append(struct.pack(">II", 0x8000, int(t) % (1 << 32)))  # a signal at the plug
    return b"".join(parts)


def encode_aedat3(events: Events, packet: int = 7, source: str = "DVS128") -> bytes:
    parts = [f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: {source}\r\n#!END-HEADER\r\n".encode()]
    for start in range(0, len(events), packet):
        part = events.select(slice(start, start + packet))
        overflow = int(part.t[0]) >> 31
        parts.append(struct.pack("<hhiiiiii", 0, 1, 8, 4, overflow, 1, 1, 1) + bytes(8))
        number = len(part) + 1  # the last event is not valid
        parts.append(struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, number, number, number - 1))
        for t, x, y, polarity in zip(part.t, part.x, part.y, part.polarity, strict=True):
            word = int(x) << 17 | int(y) << 2 | int(polarity) << 1 | 1
            parts.append(struct.pack("<II", word, int(t) - (overflow << 31)))
        parts.append(struct.pack("<II", 0, 0))
    return b"".join(parts)


def encode_n_mnist(events: Events) -> bytes:
    """Times beyond 13 bits are carried by overflow events, as in N-Caltech101."""
    parts = []
    base = 0
    for t, x, y, polarity in zip(events.t, events.x, events.y, events.polarity, strict=True):
        while int(t) - base >= 1 << 13:
            parts.append(struct.pack(">BBBH", 0, 240, 0, 0))
            base += 1 << 13
        time = int(t) - base
        parts.append(struct.pack(">BBBH", x, y, int(polarity) << 7 | time >> 16, time & 0xFFFF))
    return b"".join(parts)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def assert_same(first: Events, second: Events) -> None:
    for name in ("t", "x", "y", "polarity"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), name)
    assert (first.width, first.height) == (second.width, second.height)
