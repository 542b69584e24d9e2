"""Prophesee recordings (.raw) in the EVT 2.0 format.

Header lines begin with `%`. Then come little-endian words of 32 bits, whose upper 4 bits are the
type: 0 darker and 1 brighter (6 bits of time, 11 of column, 11 of row), 8 the upper 28 bits of the
time, 10 an external trigger, 14 and 15 extensions (docs.prophesee.ai, EVT 2.0 Format).
"""

from __future__ import annotations

import re

import numpy as np

from spikesight.data.events.recording import Events, build_events, check_whole, corrupt

_DARKER, _BRIGHTER, _TIME_HIGH = 0, 1, 8
_TYPES = (_DARKER, _BRIGHTER, _TIME_HIGH, 10, 14, 15)
_TIME_HIGH_BITS = 28
_SENSORS = {"gen31": (640, 480), "gen3": (640, 480), "gen41": (1280, 720), "gen4": (1280, 720)}
_SENSORS |= {"imx636": (1280, 720), "genx320": (320, 320)}


def parse_evt2(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Events:
    """Reads a recording in the EVT 2.0 format.

    What comes before the first upper time has no time and is left out, as are triggers and
    extensions. Times may pass the end of their 34 bits.

    Args:
        content: The whole file.
        name: What error messages call it.
        sensor: Width and height; if omitted, those that the header states or its camera has.

    Returns:
        Its events; row 0 is the highest.

    Raises:
        CorruptRecordingError: If it is no such file, of another version, or damaged.
    """
    lines, start = read_header(content, b"%")
    if not lines:
        raise corrupt(name, "does not begin with a '%' header line, so it is no .raw file")
    header = "\n".join(lines)
    _check_version(header, name)
    sensor = sensor or _sensor(header)
    if sensor is None:
        raise corrupt(name, "does not name its camera's size; pass sensor=(width, height)")
    check_whole(name, content, start, 4, "a word")
    words = np.frombuffer(content, "<u4", offset=start)
    types = words >> 28
    unknown = ~np.isin(types, _TYPES)
    if unknown.any():
        position = int(unknown.argmax())
        raise corrupt(
            name,
            f"word {position} at byte {start + 4 * position} has the type "
            f"{int(types[position])}, which EVT 2.0 does not know",
        )
    is_high = types == _TIME_HIGH
    is_event = types <= _BRIGHTER
    if is_event.any() and not is_high.any():
        raise corrupt(name, "has events but no word with the upper bits of their time")
    highs = (words[is_high] & ((1 << _TIME_HIGH_BITS) - 1)).astype(np.int64)
    wraps = np.diff(highs, prepend=highs[:1]) < -(1 << (_TIME_HIGH_BITS - 1))
    highs += np.cumsum(wraps) << _TIME_HIGH_BITS
    which = np.cumsum(is_high) - 1
    is_event &= which >= 0
    at = np.flatnonzero(is_event)
    events = words[at]
    return build_events(
        name,
        lambda number: start + 4 * int(at[number]),
        highs[which[at]] << 6 | (events >> 22 & 0x3F).astype(np.int64),
        (events >> 11 & 0x7FF).astype(np.int32),
        (events & 0x7FF).astype(np.int32),
        types[at] == _BRIGHTER,
        sensor,
    )


def read_header(content: bytes, mark: bytes) -> tuple[list[str], int]:
    """Reads the lines at a file's begin that begin with a mark and are printable.

    Data may begin with the mark's byte too, but hardly a printable line of it.

    Returns:
        The lines without the mark and the white space around them, and where the data begins.
    """
    lines: list[str] = []
    start = 0
    while content[start : start + 1] == mark:
        end = content.find(b"\n", start)
        line = content[start:end]
        if end < 0 or any(byte < 32 and byte not in (9, 13) for byte in line):
            break
        start = end + 1
        lines.append(line[1:].decode("latin1").strip())
        if lines[-1] in ("end", "!END-HEADER"):
            break
    return lines, start


def _check_version(header: str, name: str) -> None:
    version = re.search(r"^evt\s+([\d.]+)", header, re.M)
    described = re.search(r"^format\s+EVT(\d+)", header, re.M)
    if version is not None:
        known, found = version[1].startswith("2.0"), version[1]
    elif described is not None:
        known, found = described[1] in ("2", "20"), described[1]
    else:
        raise corrupt(name, "does not state its EVT version in the header ('% evt 2.0')")
    if not known:
        raise corrupt(
            name,
            f"is in the EVT format {found} and only 2.0 is read; convert it with Metavision's "
            "metavision_evt_converter",
        )


def _sensor(header: str) -> tuple[int, int] | None:
    geometry = re.search(r"^geometry\s+([0-9]+)x([0-9]+)", header, re.M)
    if geometry is not None:
        return _side(geometry[1]), _side(geometry[2])
    width, height = (re.search(rf"\b{key}[=\s]([0-9]+)", header) for key in ("width", "height"))
    if width is not None and height is not None:
        return _side(width[1]), _side(height[1])
    camera = header.lower()
    return next((size for key, size in _SENSORS.items() if key in camera), None)


def _side(digits: str) -> int:
    """The number, or one that no sensor has in place of one that is too long to convert."""
    return int(digits[:12])
