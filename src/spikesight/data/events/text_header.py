"""The lines of text at the begin of a recording, and the sensor that they name."""

from __future__ import annotations

import re

_PROPHESEE = {"gen31": (640, 480), "gen3": (640, 480), "gen41": (1280, 720), "gen4": (1280, 720)}
_PROPHESEE |= {"imx636": (1280, 720), "genx320": (320, 320)}


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


def stated_sensor(lines: list[str]) -> tuple[int, int] | None:
    """Width and height that the header of a Prophesee file states, or its camera has."""
    header = "\n".join(lines)
    geometry = re.search(r"^geometry\s+([0-9]+)x([0-9]+)", header, re.M)
    if geometry is not None:
        return _side(geometry[1]), _side(geometry[2])
    width, height = (
        re.search(rf"\b{key}[=\s]\s*([0-9]+)", header, re.I) for key in ("width", "height")
    )
    if width is not None and height is not None:
        return _side(width[1]), _side(height[1])
    camera = header.lower()
    return next((size for key, size in _PROPHESEE.items() if key in camera), None)


def _side(digits: str) -> int:
    """The number, or one that no sensor has in place of one that is too long to convert."""
    return int(digits[:12])
