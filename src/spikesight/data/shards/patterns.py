"""Which tar files a path means: a folder, a file, or a pattern with braces and stars."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path, PurePath

from spikesight.data.errors import DataError
from spikesight.data.part_folders import Part, part_of_folder
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.files.limits import SHARDS
from spikesight.files.names import check_name, is_hidden, show
from spikesight.files.walking import find_files, subfolders

SHARD_SUFFIX = ".tar"
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})", re.ASCII)
_STARS = re.compile(r"[*?\[]")


def is_pattern(path: str) -> bool:
    """Whether a path has braces or stars and is no file's or folder's own name."""
    return not os.path.lexists(path) and bool(_BRACES.search(path) or _STARS.search(path))


def holds_shards(path: str) -> bool:
    """Whether a path is a pattern of tar files, or a folder of them alone.

    A folder of shards has no images, and no folders but those of parts, such as `train/`.
    """
    if not os.path.isdir(path):
        return is_pattern(path) and path.endswith(SHARD_SUFFIX)
    folders = subfolders(path, DataError)
    if any(part_of_folder(name) is None for name in folders):
        return False
    suffixes = [_suffixes_in(os.path.join(path, name)) for name in ("", *folders)]
    found = set[str]().union(*suffixes)
    return SHARD_SUFFIX in found and not found & IMAGE_SUFFIXES


def _suffixes_in(folder: str) -> set[str]:
    """Those of the files directly in a folder, hidden ones left out."""
    names = (name for name in os.listdir(folder) if not is_hidden(name))
    return {os.path.splitext(name)[1].lower() for name in names}


def find_shards(path: str) -> list[Path]:
    """The tar files that a path means, in the order of their names.

    Args:
        path: A folder, in which they may lie at any depth; a file; or a pattern such as
            `photos/train-{000..127}.tar`, `photos/{train,val}-*.tar`.

    Raises:
        DataError: There are none, one that braces name is missing, a pair of braces holds neither
            a range of numbers nor a list, or there are more than the limit.
    """
    if os.path.isdir(path):
        found = find_files(path, {SHARD_SUFFIX}, error=DataError)
        if not found:
            raise DataError(
                f"{show(path)}: holds no {SHARD_SUFFIX} file; pass a folder of shards, a pattern "
                "such as photos/train-{000..127}.tar, or write shards of your photos with "
                "spikesight shards"
            )
    else:
        found = _matching(path) if is_pattern(path) else [Path(path)]
        for file in found:
            check_name(str(file), "data.path", DataError)
            if not file.is_file():
                raise DataError(
                    f"{show(file)}: no such tar file, which data.path {show(path)} names; correct "
                    "the path or fetch the file"
                )
    SHARDS.check(len(found), show(path), DataError)
    return found


def _matching(pattern: str) -> list[Path]:
    found: list[str] = []
    for name in _expanded(pattern, pattern):
        if os.path.lexists(name) or not _STARS.search(name):
            found.append(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise DataError(f"{show(name)}: no file matches data.path; correct the pattern")
        found += [m for m in matches if not any(map(is_hidden, PurePath(m).parts[-1:]))]
        SHARDS.check(len(found), show(pattern), DataError)
    return [Path(name) for name in dict.fromkeys(found)]


def _expanded(pattern: str, whole: str) -> list[str]:
    """The names that a pattern's braces stand for, as a shell has it."""
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    first, behind = pattern[: braces.start()], _expanded(pattern[braces.end() :], whole)
    if numbers := _RANGE.fullmatch(braces[1]):
        start, end = int(numbers[1]), int(numbers[2])
        SHARDS.check((abs(end - start) + 1) * len(behind), show(whole), DataError)
        padded = any(len(n) > 1 and n.startswith("0") for n in numbers.groups())
        width = max(map(len, numbers.groups())) if padded else 0
        step = 1 if end >= start else -1
        choices = [f"{number:0{width}}" for number in range(start, end + step, step)]
    elif "," in braces[1]:
        choices = braces[1].split(",")
        SHARDS.check(len(choices) * len(behind), show(whole), DataError)
    else:
        raise DataError(
            f"{show(whole)}: {show(braces[0])} is neither a range such as {{000..127}} nor a list "
            "such as {train,val}; correct data.path"
        )
    return [first + choice + rest for choice in choices for rest in behind]


def divide_shards(files: list[Path]) -> dict[Part | None, list[Path]]:
    """The shards of each part, by a word in their names or by the folder that they lie in.

    `train-000.tar`, `imagenet1k-validation-07.tar` and `test/0.tar` say which part they are of.

    Args:
        files: The shards.

    Returns:
        Those of each part; where none says so, all of None.

    Raises:
        DataError: A name says two parts, or some names say one and some none.
    """
    around = common_folder(files)
    parts: dict[Part | None, list[Path]] = {}
    for file in files:
        words = re.split(r"[-_.]", file.stem)
        named = {part for word in words if (part := part_of_folder(word)) is not None}
        if not named:
            folders = file.parent.relative_to(around).parts
            named = {part for name in folders if (part := part_of_folder(name)) is not None}
        if len(named) > 1:
            raise DataError(
                f"{show(file)}: its name says both {' and '.join(sorted(named))}; rename it"
            )
        parts.setdefault(named.pop() if named else None, []).append(file)
    if None in parts and len(parts) > 1:
        raise DataError(
            f"{show(parts[None][0])}: its name says none of train, val and test, which those of "
            "other shards do; rename it, or pass a pattern that leaves it out"
        )
    return parts


def common_folder(files: list[Path]) -> Path:
    """The folder around all shards."""
    return Path(os.path.commonpath([file.parent for file in files]))
