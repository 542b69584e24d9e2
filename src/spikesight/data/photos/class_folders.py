"""Classes from folder names, alike for folders and for tar files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import get_args

import torch

from spikesight.data.class_lists import check_class_names
from spikesight.data.errors import DataError
from spikesight.data.part_folders import Part, part_of_folder
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.data.sources import Archive, EncodedSource
from spikesight.files.names import check_name, show

_logger = logging.getLogger(__name__)
_SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES))


def find_parts(archive: Archive) -> dict[Part, Callable[[], EncodedSource]]:
    """Finds the classes in an archive of folders of images.

    The archive holds one folder per class, or such folders below `train/` (or `training/`),
    `val/` (`valid/`, `validation/`) and `test/` (`testing/`), in capitals or not. One folder
    around everything is looked through. A class's images may lie in folders of its own. Classes
    are numbered in the order of their names.

    Returns:
        For each part that is there a function that reads it; without part folders there is
        `train` only. The function raises `DataError` where a class folder is empty or an image
        lies outside of the class folders.
    """
    images = [
        position
        for position, name in enumerate(archive.names)
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    ]
    if not images:
        raise DataError(
            f"{show(archive.path)}: holds no image ({_SUFFIXES}); data.path must hold "
            "one folder of images per class"
        )
    for position in images:
        check_name(archive.names[position], show(archive.path), DataError)
    root = _common_folder(archive, images)
    depths: dict[str, int] = {}
    for position in images:
        first, *rest = archive.names[position].removeprefix(root).split("/")
        depths[first] = min(depths.get(first, len(rest)), len(rest))
    # A class may be called "train" too, but then its images lie directly in that folder.
    folders: dict[str, Part] = {}
    for name, depth in depths.items():
        part = part_of_folder(name)
        if part is not None and depth >= 2:
            folders[name] = part
    if not folders:
        return {"train": partial(_read_part, archive, images, root)}
    parts: dict[Part, Callable[[], EncodedSource]] = {}
    for part in get_args(Part):
        found = sorted(name for name, meaning in folders.items() if meaning == part)
        if len(found) > 1:
            raise DataError(
                f"{archive.path}: both {found[0]}/ and {found[1]}/ hold {part} images; "
                "keep one of them"
            )
        if found:
            parts[part] = partial(_read_part, archive, images, f"{root}{found[0]}/")
    if apart := sorted(depths.keys() - folders.keys()):
        _logger.warning(
            "%s: images in %s are left out, since %s is a part of the data and they are in none; "
            "move them into train/, val/ or test/ if they belong to it",
            show(archive.path),
            ", ".join(show(name) for name in apart[:3]) + (", ..." if len(apart) > 3 else ""),
            f"{show(next(iter(folders)))}/",
        )
    return parts


def _common_folder(archive: Archive, images: list[int]) -> str:
    """The folders around everything, such as `cifar10/`, or nothing."""
    root = ""
    while True:
        names = [archive.names[position].removeprefix(root) for position in images]
        first = names[0].split("/")[0]
        if not all(name.startswith(f"{first}/") and name.count("/") >= 2 for name in names):
            return root
        if part_of_folder(first) is not None:
            return root
        root += f"{first}/"


def _read_part(archive: Archive, images: list[int], prefix: str) -> EncodedSource:
    by_class: dict[str, list[int]] = {
        folder.removeprefix(prefix): []
        for folder in archive.folders
        if folder.startswith(prefix) and "/" not in folder.removeprefix(prefix)
    }
    for position in images:
        name = archive.names[position]
        if not name.startswith(prefix):
            continue
        first, *rest = name.removeprefix(prefix).split("/")
        if not rest:
            labelled = f"{name.partition('.')[0]}.cls" in archive.names
            raise DataError(
                f"{archive.describe(position)}: lies outside of the class folders; "
                + (
                    "pass data.format=shards"
                    if labelled
                    else "move it into the folder of its class"
                )
            )
        by_class[first].append(position)
    for name, members in by_class.items():
        if not members:
            twin = archive.repeated.get(f"{prefix}{name}")
            why = "" if twin is None else f", being a link to {show(twin)}, which is read there"
            raise DataError(
                f"{show(archive.path)}: class folder {show(prefix + name)} holds no image "
                f"({_SUFFIXES}){why}; add images or remove the folder"
            )
    classes = sorted(by_class)
    check_class_names(classes, f"{show(archive.path)}: folders of classes")
    return EncodedSource(
        archive,
        torch.tensor([position for name in classes for position in by_class[name]]),
        torch.tensor([n for n, name in enumerate(classes) for _ in by_class[name]]),
        classes,
        f"{archive.path}/{prefix}".rstrip("/"),
    )
