"""The words behind `spikesight train`: files in front, and one name for a path."""

from __future__ import annotations

import json
import os
from typing import Any

from spikesight.files.documents import named
from spikesight.training.config import merge, read_yaml
from spikesight.training.written_values import as_written

_SECTIONS = {"data", "scenes"}
_CONFIG = "--config"


def prepare_words(words: list[str], kind: type) -> list[str]:
    """Reads the YAML files in front and lets --data.… and --scenes.… mean what the task reads.

    Args:
        words: The command line; files first, whose fields later words override.
        kind: The dataclass of the options.

    Returns:
        Options alone; each file became one with the file's fields.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file cannot be used.
    """
    options = _name_files(words)
    read: dict[str, Any] = {}
    ready: list[str] = []
    for name, value in options:
        if name == _CONFIG and value is not None:
            with named(value):
                mapping = as_written(kind, read_yaml(value))
            read = merge(read, mapping)
            value = json.dumps(mapping, default=str)
        elif name == "--task" and value is not None:
            read["task"] = value
        ready.append(name if value is None else f"{name}={value}")
    used = "scenes" if read.get("task") in ("semantic", "panoptic") else "data"
    (unused,) = _SECTIONS - {used}
    return [_renamed(word, f"--{unused}.", f"--{used}.") for word in ready]


def _renamed(word: str, before: str, after: str) -> str:
    return after + word.removeprefix(before) if word.startswith(before) else word


def _name_files(words: list[str]) -> list[tuple[str, str | None]]:
    """Names and values of the options; files in front are values of --config."""
    options: list[tuple[str, str | None]] = []
    left = list(words)
    while left and not left[0].startswith("-"):
        file = left.pop(0)
        if not os.path.isfile(file):
            raise FileNotFoundError(f"there is no configuration file {file}")
        options.append((_CONFIG, file))
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not equals and left and not left[0].startswith("--"):
            equals, value = "=", left.pop(0)
        options.append((name, value if equals else None))
    return options
