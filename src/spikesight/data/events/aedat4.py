"""Recordings of iniVation's cameras (.aedat4), version 4.0.

After the line with the version come the length and the FlatBuffer of a header: the compression, the
place of a table behind the packets, and XML that describes the streams. A packet has the number of
its stream, its length and a compressed FlatBuffer; one of events holds a vector of structs
(docs.inivation.com, AEDAT 4.0).
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

from spikesight.data.errors import CorruptRecordingError
from spikesight.data.events.recording import Events, build_events, corrupt
from spikesight.errors import UserError, missing_package
from spikesight.files.flatbuffers import Table
from spikesight.files.limits import EVENTS, RECORDING_BYTES
from spikesight.files.names import show
from spikesight.files.opening import read_at_most

MAGIC = b"#!AER-DAT4.0\r\n"
_EVENT = np.dtype(
    {
        "names": ["t", "x", "y", "on"],
        "formats": ["<i8", "<i2", "<i2", "u1"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)
_LZ4, _ZSTD = ("lz4.frame", "lz4"), ("zstandard", "zstandard")
_COMPRESSIONS = {0: None, 1: _LZ4, 2: _LZ4, 3: _ZSTD, 4: _ZSTD}
_LARGEST_WINDOW = 1 << 27  # bytes, the most that zstandard's own command takes

Decompressor = Callable[[bytes, int], bytes]


def parse_aedat4(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Events:
    """Reads the stream of events of a recording in the AEDAT format 4.0.

    Args:
        content: The whole file.
        name: What error messages call it.
        sensor: Width and height; if omitted, those that the file states.

    Returns:
        Its events; row 0 is the highest.

    Raises:
        CorruptRecordingError: If it is no such file, has not one stream of events, or is damaged.
        MissingPackageError: If the package for its compression is not installed.
    """
    if not content.startswith(MAGIC):
        raise corrupt(name, "does not begin with '#!AER-DAT4.0', so it is no .aedat4 file")
    header, start = _read_header(content, name)
    stop = header.number(1, "<q", -1)
    if stop == -1:
        stop = len(content)
    elif not start <= stop <= len(content):
        raise corrupt(name, f"ends at byte {len(content)}; its packets end at byte {stop}")
    decompress = _decompressor(header.number(0, "<i", 0), name)
    stream, stated = _find_stream(bytes(header.vector(2, 1)), name)
    sensor = sensor or stated
    if sensor is None:
        raise corrupt(name, "does not state its sensor's size; pass sensor=(width, height)")
    parts = [np.zeros(0, _EVENT)]
    bytes_of = [np.zeros(0, np.int64)]
    events, left = 0, RECORDING_BYTES.value
    for place, packet in _packets(content, start, stop, stream, name):
        unpacked = decompress(packet, left + 1)
        left -= len(unpacked)
        if left < 0:
            raise CorruptRecordingError(RECORDING_BYTES.message(show(name)))
        parts.append(_read_events(unpacked, place, name))
        bytes_of.append(np.full(len(parts[-1]), place))
        events += len(parts[-1])
        EVENTS.check(events, show(name), CorruptRecordingError)
    all_events, at = np.concatenate(parts), np.concatenate(bytes_of)
    return build_events(
        name,
        lambda number: int(at[number]),
        all_events["t"],
        all_events["x"],
        all_events["y"],
        all_events["on"] != 0,
        sensor,
    )


def _read_header(content: bytes, name: str) -> tuple[Table, int]:
    """The header's table, and where packets begin."""
    start = len(MAGIC) + 4
    if len(content) < start:
        raise corrupt(name, f"ends at byte {len(content)}, in the header of version 4.0 of AEDAT")
    (size,) = struct.unpack_from("<I", content, len(MAGIC))
    if start + size > len(content):
        raise corrupt(name, f"has a header of {size} bytes but ends at byte {len(content)}")
    try:
        header = Table.root(content[start : start + size], b"IOHE")
        header.number(0, "<i", 0), header.number(1, "<q", -1), header.vector(2, 1)
    except UserError as error:
        raise corrupt(name, f"has a damaged header, which {error}") from error
    return header, start + size


def _find_stream(description: bytes, name: str) -> tuple[int, tuple[int, int] | None]:
    """The number of the stream of events, and the sensor's size."""
    try:
        text = description.decode()
        if "<!" in text:  # declarations, with which XML can grow without bounds
            raise corrupt(name, "describes its streams with declarations, which are not read")
        tree = ElementTree.fromstring(text)
    except CorruptRecordingError:
        raise
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise corrupt(name, f"does not describe its streams ({show(str(error))})") from error
    streams = [
        node
        for inner in tree.iter("node")
        if inner.get("name") == "outInfo"
        for node in inner.findall("node")
        if node.findtext("attr[@key='typeIdentifier']") == "EVTS"
    ]
    if len(streams) != 1:
        raise corrupt(
            name,
            f"has {len(streams)} streams of events and only files with one are read; write one "
            "stream with DV",
        )
    try:
        number = int(streams[0].get("name", "")[:12])
        sides = [
            streams[0].findtext(f"node[@name='info']/attr[@key='{key}']")
            for key in ("sizeX", "sizeY")
        ]
        width, height = (None if side is None else int(side[:12]) for side in sides)
    except ValueError as error:
        raise corrupt(name, f"describes a stream by no number ({show(str(error))})") from error
    return number, None if width is None or height is None else (width, height)


def _packets(
    content: bytes, start: int, stop: int, stream: int, name: str
) -> Iterator[tuple[int, bytes]]:
    """The packets of a stream: where each begins, and what it holds, compressed."""
    while start < stop:
        if start + 8 > stop:
            raise corrupt(name, f"the packet at byte {start} is cut off at byte {stop}")
        number, size = struct.unpack_from("<ii", content, start)
        if size < 0 or start + 8 + size > stop:
            raise corrupt(
                name, f"the packet at byte {start} has {size} bytes but packets end at byte {stop}"
            )
        if number == stream:
            yield start, content[start + 8 : start + 8 + size]
        start += 8 + size


def _read_events(packet: bytes, place: int, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        return np.frombuffer(Table.root(packet[4:], b"EVTS").vector(0, _EVENT.itemsize), _EVENT)
    except UserError as error:
        raise corrupt(name, f"the packet at byte {place} is damaged: it {error}") from error


def _decompressor(number: int, name: str) -> Decompressor:
    """What unpacks a packet, up to a number of bytes."""
    if number not in _COMPRESSIONS:
        raise corrupt(name, f"has the compression {number}, which AEDAT 4.0 does not know")
    needed = _COMPRESSIONS[number]
    if needed is None:
        return lambda packet, most: packet[:most]
    module, package = needed
    try:
        library = importlib.import_module(module)
    except ImportError as error:
        purpose = f"{show(name)}: its packets are compressed, and reading them"
        raise missing_package(purpose, package, "events") from error
    failures = (RuntimeError, ValueError, *([library.ZstdError] if needed == _ZSTD else []))

    def unpack(packet: bytes, most: int) -> bytes:
        try:
            if needed == _LZ4:
                unpacked: bytes = library.LZ4FrameDecompressor().decompress(packet, most)
                return unpacked
            zstd = library.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
            return read_at_most(zstd.stream_reader(io.BytesIO(packet)), most)
        except failures as error:
            raise corrupt(
                name, f"has a packet that cannot be unpacked ({show(str(error))})"
            ) from error

    return unpack
