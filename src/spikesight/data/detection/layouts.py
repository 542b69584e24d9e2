"""In which format a folder holds photos with objects."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from spikesight.data.detection.coco_json import find_coco

_XML_FOLDERS = ("Annotations", "annotations/xmls", "annotations", "train", "")
_TEXT_FOLDERS = ("labels", "labels/train", "train/labels", "obj_train_data")
_NAME_FILES = ("data.yaml", "dataset.yaml", "data.yml", "obj.names")
_LOOKED_AT = 10_000  # entries of a folder


def format_of(folder: Path) -> str | None:
    """The `objects.format` of a folder; None if it has none of the usual layouts.

    Args:
        folder: An existing folder; no file in it is opened.
    """
    if find_coco(folder, "train", None) is not None:
        return "coco"
    if any(_holds(folder / name, ".xml") for name in _XML_FOLDERS):
        return "voc"
    named = any((folder / name).is_file() for name in _NAME_FILES)
    if named or any(_holds(folder / name, ".txt") for name in _TEXT_FOLDERS):
        return "yolo"
    return None


def _holds(folder: Path, suffix: str) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(suffix) for entry in islice(entries, _LOOKED_AT))
