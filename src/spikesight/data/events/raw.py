"""Prophesee recordings (.raw): which encoding the header states, and the sensor."""

from __future__ import annotations

import re

from spikesight.data.events.evt2 import decode_evt2
from spikesight.data.events.evt3 import decode_evt3
from spikesight.data.events.recording import Events, corrupt
from spikesight.data.events.text_header import read_header, stated_sensor


def parse_raw(content: bytes, name: str, sensor: tuple[int, int] | None = None) -> Events:
    """Reads a recording in the EVT 2.0 or EVT 3.0 format.

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
    decode = {2: decode_evt2, 3: decode_evt3}[_version("\n".join(lines), name)]
    sensor = sensor or stated_sensor(lines)
    if sensor is None:
        raise corrupt(name, "does not name its camera's size; pass sensor=(width, height)")
    return decode(content, start, name, sensor)


def _version(header: str, name: str) -> int:
    """2 or 3, as the header has it in one of its two spellings."""
    version = re.search(r"^evt\s+([\d.]+)", header, re.M)
    described = re.search(r"^format\s+EVT(\d+)", header, re.M)
    if version is not None:
        found = version[1]
        known = next((number for number in (2, 3) if found.startswith(f"{number}.0")), None)
    elif described is not None:
        found = described[1]
        known = {"2": 2, "20": 2, "3": 3, "30": 3}.get(found)
    else:
        raise corrupt(name, "does not state its EVT version in the header ('% evt 3.0')")
    if known is None:
        raise corrupt(
            name,
            f"is in the EVT format {found} and only 2.0 and 3.0 are read; convert it with "
            "Metavision's metavision_evt_converter",
        )
    return known
