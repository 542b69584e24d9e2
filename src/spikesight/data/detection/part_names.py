"""What files and folders of one part of a set of photos with objects are called."""

from __future__ import annotations

from pathlib import Path

from spikesight.data.errors import DataError
from spikesight.data.part_folders import part_of_folder
from spikesight.files.walking import subfolders

_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_PARTS = {"train": "train", "val": "validation", "test": "test"}


def names_of(part: str, *folders: Path) -> tuple[str, ...]:
    """The usual names of a part, and those of subfolders that mean it, such as Train or testing.

    Args:
        part: "train", "val" or "test".
        folders: Where such subfolders may lie.
    """
    below = [
        name for folder in folders if folder.is_dir() for name in subfolders(folder, DataError)
    ]
    meant = [name for name in below if part_of_folder(name) == _PARTS[part]]
    return tuple(dict.fromkeys([*_NAMES[part], *meant]))
