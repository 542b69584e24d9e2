"""Which images belong together, such as those of one person: a table beside the data."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.events.sources import EventSource, FileRecordings
from spikesight.data.sources import EncodedSource, Source
from spikesight.files.names import show
from spikesight.files.opening import read_text

_COLUMNS = ["file", "group"]


def read_groups(table: str, path: str, source: Source) -> Tensor:
    """Numbers the groups of a source's files.

    Args:
        table: A CSV file with the columns "file" (from the data's folder on, with forward
            slashes) and "group".
        path: The data's folder or tar file.
        source: Images or recordings of one file each.

    Returns:
        One number per image, int64 `[N]`.

    Raises:
        DataError: The table cannot be read or lacks a file, or the images are not in files.
    """
    names = _file_names(path, source)
    groups: dict[str, str] = {}
    try:
        rows = csv.reader(read_text(table, error=DataError).split("\n"), strict=True)
        if next(rows, None) != _COLUMNS:
            raise DataError(f"{show(table)}: its first line must be {','.join(_COLUMNS)}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(_COLUMNS) or not all(row):
                raise DataError(
                    f"{show(table)}: line {rows.line_num} is no file and its group; correct it"
                )
            if groups.setdefault(row[0], row[1]) != row[1]:
                raise DataError(
                    f"{show(table)}: line {rows.line_num} puts {show(row[0])} into another group "
                    "than a line before; remove one of them"
                )
    except csv.Error as error:
        raise DataError(f"{show(table)}: is no CSV file ({error}); correct it") from error
    missing = [name for name in names if name not in groups]
    if missing:
        raise DataError(
            f"{show(table)}: names no group for {show(missing[0])} (and {len(missing) - 1} others "
            f"of {len(names)}); add a line for each, with the path from {show(path)} on"
        )
    numbers = {group: number for number, group in enumerate(sorted(set(groups.values())))}
    return torch.tensor([numbers[groups[name]] for name in names])


def _file_names(path: str, source: Source) -> Sequence[str]:
    if isinstance(source, EncodedSource):
        return [source.archive.names[position] for position in source.positions.tolist()]
    if isinstance(source, EventSource) and isinstance(source.recordings, FileRecordings):
        files = (source.recordings.files[position] for position in source.positions.tolist())
        return [os.path.relpath(file, path).replace(os.sep, "/") for file in files]
    raise DataError(
        f"{source.name}: data.groups names files, and these images are not in files of their own; "
        "leave it out"
    )
