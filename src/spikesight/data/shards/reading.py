"""Photos and classes of shards."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from spikesight.data.class_lists import check_class_names
from spikesight.data.errors import DataError
from spikesight.data.part_folders import Part
from spikesight.data.shards.archive import ShardArchive
from spikesight.data.shards.index import Label, ShardIndex, list_shard, read_index
from spikesight.data.shards.patterns import common_folder, divide_shards, find_shards
from spikesight.data.sources import EncodedSource, check_labels
from spikesight.files.names import show
from spikesight.files.opening import read_text

logger = logging.getLogger(__name__)
CLASS_LIST = "classes.txt"
_MOST_CLASSES = 1 << 20
_LONG = 10.0  # seconds


def find_parts(
    path: str, class_names: list[str] | None = None
) -> dict[Part, Callable[[], EncodedSource]]:
    """Finds the shards that a path means, and which of them train, validate and test.

    Args:
        path: A folder, a tar file or a pattern; see `find_shards`.
        class_names: Names of the classes where shards number them and no file `classes.txt`
            (one name in a line) lies in their folder or in the one around it. By default the
            numbers are the names.

    Returns:
        For each part that is there a function that reads it; where no shard says its part, there
        is `train` only.

    Raises:
        DataError: There are no shards, or it is not clear of which part each is.
    """
    files = find_shards(path)
    listed = _read_class_list(common_folder(files))
    parts = divide_shards(files)
    single = next(iter(parts)) if len(parts) == 1 else None
    return {
        part or "train": partial(
            _read_part,
            path if single == part else f"{path}, {part}",
            members,
            listed,
            class_names,
        )
        for part, members in parts.items()
    }


def _read_class_list(folder: Path) -> list[str] | None:
    for place in (folder / CLASS_LIST, folder.parent / CLASS_LIST):
        if not place.is_file():
            continue
        names = [line.strip() for line in read_text(place, error=DataError).strip().split("\n")]
        for number, name in enumerate(names):
            if not name or not name.isprintable():
                raise DataError(
                    f"{show(place)}: line {number + 1} is no name of a class; write one in each"
                )
        check_class_names(names, show(place))
        return names
    return None


def _read_part(
    name: str, files: list[Path], class_list: list[str] | None, for_numbers: list[str] | None
) -> EncodedSource:
    started, listed = time.monotonic(), 0
    shards: list[tuple[Path, ShardIndex]] = []
    for file in files:
        index = read_index(file)
        if index is None:
            index, listed = list_shard(file), listed + 1
        shards.append((file, index))
    if listed and time.monotonic() - started > _LONG:
        logger.warning(
            "%s: listing %d shards took %.0f s; spikesight shards %s keeps the lists beside them",
            show(name),
            listed,
            time.monotonic() - started,
            show(str(common_folder(files))),
        )
    labels: list[Label] = [label for _, index in shards for label in index.labels]
    classes = class_list or _class_names(labels, for_numbers, name)
    numbers = {text: number for number, text in enumerate(classes)}
    unknown = next((x for x in labels if isinstance(x, str) and x not in numbers), None)
    if unknown is not None:
        raise DataError(f"{show(name)}: the class {show(unknown)} is not in {CLASS_LIST}; add it")
    numbered = torch.tensor([numbers[x] if isinstance(x, str) else x for x in labels])
    check_class_names(classes, show(name))
    check_labels(numbered, classes, show(name))
    archive = ShardArchive(name, shards)
    return EncodedSource(archive, torch.arange(len(numbered)), numbered, classes, show(name))


def _class_names(labels: list[Label], for_numbers: list[str] | None, name: str) -> list[str]:
    """The names that the labels are, or those for the numbers, or the numbers up to the largest."""
    texts = {label for label in labels if isinstance(label, str)}
    numbers = {label for label in labels if isinstance(label, int)}
    if texts and numbers:
        raise DataError(
            f"{show(name)}: some classes are numbers ({min(numbers)}) and some are names "
            f"({show(min(texts))}); write all as numbers, or all as names"
        )
    if texts:
        return sorted(texts)
    if for_numbers is not None:
        return for_numbers
    if max(numbers) >= _MOST_CLASSES:
        raise DataError(
            f"{show(name)}: a class has the number {max(numbers)}; number the classes from 0"
        )
    return [str(number) for number in range(max(numbers) + 1)]
