"""Reads the documents: what stands below each heading, which code is shown."""

from __future__ import annotations

import re
from pathlib import Path

# The first line of a block that is a file: in Python and YAML, C, JavaScript.
_FILE = re.compile(r"(?:#|//|/\*) (\w+\.\w+)(?: \*/)?\n")


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and text of the code blocks in the text of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


def sections(page: Path) -> dict[str, str]:
    """What stands below each heading of a page."""
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def file_shown(block: str) -> str | None:
    """The name of the file that a block shows, which says it in its first line."""
    name = _FILE.match(block)
    return name and name[1]
