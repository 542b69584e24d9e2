"""What folders are called that hold the images or recordings of one part of a data set."""

from __future__ import annotations

from typing import Literal

Part = Literal["train", "validation", "test"]

_PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def part_of_folder(name: str) -> Part | None:
    """The part that a folder of this name holds, whatever its case; None if it is no part's."""
    return _PARTS.get(name.lower())
