"""Recordings of iniVation's and jAER's cameras (.aedat), versions 2.0 and 3.1; 4.0: aedat4.py.

Version 2.0 is a list of big-endian pairs of 32 bits, address and microsecond. The address of a
DVS128 has the row in bits 8 to 14, the column, counted from the right, in bits 1 to 7, and bit 0
is clear where it became brighter, as jAER's DVS128 reads it (iniVation's page on the format says
the opposite). Version 3.1 is a list of little-endian packets with a header of 28 bytes
(docs.inivation.com, AEDAT file formats).
"""

from __future__ import annotations

import re
import struct

import numpy as np

from spikesight.data.events.aedat4 import MAGIC, parse_aedat4
from spikesight.data.events.recording import Events, build_events, check_whole, corrupt
from spikesight.data.events.text_header import read_header
from spikesight.files.names import show

_DVS128 = (128, 128)
_SENSORS = {"DVS128": _DVS128, "DAVIS240": (240, 180), "DAVIS346": (346, 260)}
_SENSORS |= {"DAVIS640": (640, 480), "DVS640": (640, 480)}
_PACKET = struct.Struct("<hhiiiiii")
_POLARITY = 1


def parse_aedat(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Events:
    """Reads a recording in the AEDAT format 2.0 (of a DVS128), 3.1 or 4.0.

    Args:
        content: The whole file.
        name: What error messages call it.
        sensor: Width and height; if omitted, those that a 4.0 file states, or of the camera
            that a 3.1 file names.

    Returns:
        Its events.

    Raises:
        CorruptRecordingError: If it is no such file, of another version or camera, or damaged.
    """
    if content.startswith(MAGIC):
        return parse_aedat4(content, name, sensor)
    lines, start = read_header(content, b"#")
    version = re.match(r"!AER-DAT([\d.]+)$", lines[0]) if lines else None
    if version is None:
        raise corrupt(name, "does not begin with '#!AER-DAT', so it is no .aedat file")
    if version[1] == "2.0":
        _check_chip(lines, name)
        return _parse_2(content, start, name)
    if version[1] == "3.1":
        return _parse_3(content, start, lines, name, sensor)
    raise corrupt(
        name,
        f"has version {version[1]} of AEDAT and only 2.0, 3.1 and 4.0 are read; convert it with "
        "DV or jAER",
    )


def _check_chip(lines: list[str], name: str) -> None:
    """Refuses a camera whose addresses are laid out in another way than a DVS128's."""
    chips = [line.partition(":")[2].strip() for line in lines if line.startswith("AEChip:")]
    for chip in chips:
        if not re.search("(DVS|Tmpdiff)128", chip, re.IGNORECASE):
            raise corrupt(
                name,
                f"is a recording of a {show(chip.rpartition('.')[2])} and from AEDAT 2.0 only a "
                "DVS128's are read; convert it to AEDAT 4.0 with DV",
            )


def _parse_2(content: bytes, start: int, name: str) -> Events:
    check_whole(name, content, start, 8)
    pairs = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2).astype(np.int64)
    address, ticks = pairs[:, 0], pairs[:, 1]
    foreign = address > 0xFFFF
    if foreign.any():
        number = int(np.argmax(foreign))
        raise corrupt(
            name,
            f"event {number} at byte {start + 8 * number} has the address "
            f"{int(address[number]):#x}, which is none of a DVS128; other cameras are read from "
            "AEDAT 3.1",
        )
    ticks = ticks + (np.cumsum(np.diff(ticks, prepend=ticks[:1]) < -(1 << 31)) << 32)
    at = np.flatnonzero(address < 0x8000)  # bit 15 marks a signal at the camera's plug
    address = address[at]
    return build_events(
        name,
        lambda number: start + 8 * int(at[number]),
        ticks[at],
        127 - (address >> 1 & 0x7F),
        address >> 8 & 0x7F,
        address & 1 == 0,
        _DVS128,
        "lower left",
    )


def _parse_3(
    content: bytes, start: int, lines: list[str], name: str, sensor: tuple[int, int] | None
) -> Events:
    sources = " ".join(line for line in lines if line.startswith(("Source", "-Source")))
    sensor = sensor or next((size for key, size in _SENSORS.items() if key in sources), None)
    if sensor is None:
        raise corrupt(name, "does not name a known camera; pass sensor=(width, height)")
    data, times, bytes_of = [], [], []
    while start < len(content):
        if start + _PACKET.size > len(content):
            raise corrupt(
                name, f"the packet at byte {start} is cut off by the end at byte {len(content)}"
            )
        kind, _, size, _, overflow, capacity, number, _ = _PACKET.unpack_from(content, start)
        body, start = start + _PACKET.size, start + _PACKET.size + size * capacity
        if size < 1 or not 0 <= number <= capacity or (kind == _POLARITY and size != 8):
            raise corrupt(
                name,
                f"the packet at byte {body - _PACKET.size} states {number} of {capacity} events "
                f"of {size} bytes, which cannot be",
            )
        if start > len(content):
            raise corrupt(
                name,
                f"the packet at byte {body - _PACKET.size} has {capacity} events of {size} bytes "
                f"but the file ends at byte {len(content)}",
            )
        if kind != _POLARITY:
            continue
        pairs = np.frombuffer(content, "<u4", 2 * number, body).reshape(-1, 2)
        valid = np.flatnonzero(pairs[:, 0] & 1)
        data.append(pairs[valid, 0])
        times.append(pairs[valid, 1].astype(np.int64) + (overflow << 31))
        bytes_of.append(body + 8 * valid)
    words = np.concatenate(data) if data else np.zeros(0, np.uint32)
    at = np.concatenate(bytes_of) if bytes_of else np.zeros(0, np.int64)
    return build_events(
        name,
        lambda number: int(at[number]),
        np.concatenate(times) if times else np.zeros(0, np.int64),
        (words >> 17).astype(np.int32),
        (words >> 2 & 0x7FFF).astype(np.int32),
        (words >> 1 & 1).astype(np.bool_),
        sensor,
    )
