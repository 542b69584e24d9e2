"""Photo data sets as folders of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from spikesight.data.batches import report_skipped
from spikesight.data.config import DataConfig
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.events.saccades import saccade_events
from spikesight.data.events.sources import EventSource
from spikesight.data.events.stored import save_events
from spikesight.data.part_folders import Part
from spikesight.data.photos.decoding import decode
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.data.sources import ArraySource, EncodedSource
from spikesight.data.splits import find_parts

_NO_PART_OF_A_NAME = frozenset('/\\:*?"<>|\0')  # on one system or another
_FOLDERS: dict[Part, str] = {"train": "train", "validation": "val", "test": "test"}


def convert_photos(
    config: DataConfig,
    output: str | Path,
    size: int = 34,
    threshold: float = 0.25,
    limit: int | None = None,
) -> tuple[int, int]:
    """Writes the events of every photo as a .npz file, in one folder per class.

    Args:
        config: Which photos, and what a corrupt one does; its format, path, class names and
            on_corrupt are looked at.
        output: A folder that does not exist yet; below it `train/`, `val/` and `test/` if the
            photos are divided.
        size: Height and width of the sensor, in pixels.
        threshold: Step of the log brightness that makes an event; see `saccade_events`.
        limit: Most photos of each part, spread evenly over it.

    Returns:
        Number of recordings and of events.

    Raises:
        DataError: If the photos cannot be read, a class is called as no folder can be, or the
            folder is not empty.
    """
    output = Path(output)
    if output.exists() and any(output.iterdir()):
        raise DataError(f"{output}: is not empty; pass a folder that does not exist yet")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; pass 1 or more")
    parts = find_parts(config)
    recordings = events = 0
    skipped: dict[str, str] = {}
    for part, read in parts.items():
        source = read()
        if isinstance(source, EventSource):
            raise DataError(f"{config.path}: holds recordings already; pass the format of photos")
        _check_folder_names(source.classes)
        folder = output / _FOLDERS[part] if len(parts) > 1 else output
        every = 1 if limit is None else max(len(source.labels) // limit, 1)
        chosen = torch.arange(0, len(source.labels), every)[:limit]
        taken = source.select(chosen)
        for index, number in enumerate(chosen.tolist()):
            try:
                photo = _read_photo(taken, index)
            except CorruptImageError as error:
                if config.on_corrupt == "stop":
                    raise
                skipped[f"{source.name}, photo {number}"] = str(error)
                continue
            made = saccade_events(photo, size, threshold)
            name = source.classes[int(taken.labels[index])]
            save_events(made, folder / name / f"{number:06}.npz")
            recordings, events = recordings + 1, events + len(made)
    if skipped:
        report_skipped(skipped)
    return recordings, events


def _check_folder_names(classes: Sequence[str]) -> None:
    for name in classes:
        if not name or name.startswith(".") or set(name) & _NO_PART_OF_A_NAME:
            raise DataError(
                f"the class {name!r} cannot be the name of a folder; pass data.class_names that can"
            )


def _read_photo(source: ArraySource | EncodedSource, index: int) -> Tensor:
    if isinstance(source, ArraySource):
        return source.images[index]
    position = int(source.positions[index])
    name = source.archive.describe(position)
    return to_tensor(decode(source.archive.read(position), name, 1))
