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


def encode_evt3(
    events: Events, header: str = "evt 3.0\n% geometry {w}x{h}", high: int = 0
) -> bytes:
    """Ascending columns of one time, row and polarity are vectors; `high` is added to their time.

    Upper times come with every change and again before every seventh event, with a trigger.
    """
    words: list[int] = []
    last: tuple[int | None, ...] = (None, None, None)
    position = 0
    while position < len(events):
        run = position + 1
        same = [events.t, events.y, events.polarity]
        while run < len(events) and (
            all(a[run] == a[position] for a in same)
            and events.x[run - 1] < events.x[run] < events.x[position] + 32
        ):
            run += 1
        t, y = int(events.t[position]), int(events.y[position])
        upper, lower = (t // 4096 + high) % 4096, t % 4096
        if upper != last[0] or position % 7 == 0:
            words += [8 << 12 | upper, 10 << 12 | 1, 15 << 12 | 3, 7 << 12 | 2]
        if (upper, lower) != last[:2]:
            words.append(6 << 12 | lower)
        if y != last[2]:
            words.append(y)
        last = (upper, lower, y)
        sign = int(events.polarity[position]) << 11
        first = int(events.x[position])
        if run - position < 3:
            words += [2 << 12 | sign | int(x) for x in events.x[position:run]]
        else:
            bits = sum(1 << int(x) - first for x in events.x[position:run])
            words += [3 << 12 | sign | first, 4 << 12 | bits & 0xFFF]
            words += [4 << 12 | bits >> 12 & 0xFFF, 5 << 12 | bits >> 24]
        position = run
    lines = header.format(w=events.width, h=events.height)
    return f"% {lines}\n".encode() + np.array(words, "<u2").tobytes()


def encode_dat(
    events: Events, header: str | None = "Version 2\n% Width {w}\n% Height {h}", old: bool = False
) -> bytes:
    """`old` has the bits of version 1."""
    column, row = (9, 8) if old else (14, 14)
    head = b""
    if header is not None:
        lines = f"% Data file containing CD events.\n% {header}\n"
        head = lines.format(w=events.width, h=events.height).encode() + bytes([12, 8])
    place = events.x | events.y << column | events.polarity.astype(np.int64) << column + row
    return head + np.stack([events.t % (1 << 32), place], 1).astype("<u4").tobytes()


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


def _flatbuffer(identifier: bytes, fields: list[bytes], data: bytes) -> bytes:
    """A root table of these fields, none where they are empty, behind which comes the data."""
    at, places = 4, []
    for field in fields:
        places.append(at if field else 0)
        at += len(field)
    table = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), at, *places)
    start = 8 + len(table)
    body = struct.pack("<i", start - 8) + b"".join(fields)
    return struct.pack("<I", start) + identifier + table + body + data


INFO = """<dv version="2.0"><node name="outInfo" path="/outInfo/"><node name="3" path="/3/">
<attr key="typeIdentifier" type="string">IMUS</attr></node><node name="5" path="/5/">
<attr key="typeIdentifier" type="string">EVTS</attr><node name="info" path="/i/">
<attr key="sizeX" type="int">{w}</attr><attr key="sizeY" type="int">{h}</attr></node></node></node>
</dv>"""


def encode_aedat4(
    events: Events, compression: int = 0, packet: int = 7, info: str = INFO, table: bool = True
) -> bytes:
    """Packets of events among others; behind them a table of packets, which the header states."""
    packets = []
    for start in range(0, len(events), packet):
        part = events.select(slice(start, start + packet))
        structs = b"".join(
            struct.pack("<qhh?3x", *(int(v) for v in fields))
            for fields in zip(part.t, part.x, part.y, part.polarity, strict=True)
        )
        vector = struct.pack("<I", len(part)) + structs
        content = _flatbuffer(b"EVTS", [struct.pack("<I", 4)], vector)
        content = _compress(struct.pack("<I", len(content)) + content, compression)
        packets += [struct.pack("<ii", 3, 5) + b"other", struct.pack("<ii", 5, len(content))]
        packets.append(content)
    text = info.format(w=events.width, h=events.height).encode()
    body = b"".join(packets)

    def header(position: int) -> bytes:
        number = struct.pack("<i", compression) if compression else b""
        fields = [number, struct.pack("<q", position) if table else b"", struct.pack("<I", 4)]
        return _flatbuffer(b"IOHE", fields, struct.pack("<I", len(text)) + text)

    start = 18 + len(header(0))
    head = header(start + len(body))
    parts = [b"#!AER-DAT4.0\r\n", struct.pack("<I", len(head)), head, body]
    return b"".join([*parts, b"FTAB" * 5 if table else b""])


def _compress(content: bytes, compression: int) -> bytes:
    if compression == 0:
        return content
    if compression < 3:
        import lz4.frame

        return bytes(lz4.frame.compress(content))
    import zstandard

    return zstandard.ZstdCompressor().compress(content)


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
