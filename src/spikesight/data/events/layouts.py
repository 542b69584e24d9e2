"""Data sets of recordings in their published layouts.

- CIFAR10-DVS (Li et al., 2017): one folder of .aedat files per class, without a division.
- N-MNIST (Orchard et al., 2015): Train/ and Test/ with one folder of .bin files per digit.
- DVS128 Gesture (Amir et al., 2017): .aedat files, a *_labels.csv beside each, and the lists
  trials_to_train.txt and trials_to_test.txt.
- Any folder with one folder of recordings per class, divided into train/, val/ and test/ or not.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import torch

from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.n_mnist import N_MNIST_SENSOR
from spikesight.data.events.reading import RECORDING_SUFFIXES
from spikesight.data.events.sources import EventSource, FileRecordings, Stretch, StretchRecordings
from spikesight.data.part_folders import Part, part_of_folder
from spikesight.errors import UserError
from spikesight.files.names import check_inside
from spikesight.files.opening import read_text
from spikesight.files.walking import find_files, subfolders

EventParts = dict[Part, Callable[[], EventSource]]

_TRIALS: dict[Part, str] = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
_GESTURES = [
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
]


def find_event_parts(
    data_format: str, path: str | Path, sensor: tuple[int, int] | None = None
) -> EventParts:
    """Finds the parts into which a data set of recordings is divided on disk.

    Args:
        data_format: `cifar10_dvs`, `nmnist`, `dvs128_gesture` or `event_folders`.
        path: Its folder.
        sensor: Width and height where recordings do not state them.

    Returns:
        For each part that is there (train, validation, test) a function that finds its
        recordings; undivided ones are all in train.

    Raises:
        DataError: If the folder does not hold such a data set.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{path}: no such folder; data.path must be the folder of the recordings")
    if data_format == "dvs128_gesture":
        return _gesture_parts(folder)
    if data_format == "nmnist":
        parts = _divided(folder, {".bin"}, sensor or N_MNIST_SENSOR)
        if not parts:
            raise DataError(
                f"{path}: holds neither Train/ nor Test/ with a folder of .bin files per digit; "
                "pass the folder into which N-MNIST was unpacked as data.path"
            )
        return parts
    if data_format == "cifar10_dvs":
        return {"train": partial(_read_classes, folder, {".aedat"}, sensor)}
    return _divided(folder, set(RECORDING_SUFFIXES), sensor) or {
        "train": partial(_read_classes, folder, set(RECORDING_SUFFIXES), sensor)
    }


def _divided(folder: Path, suffixes: set[str], sensor: tuple[int, int] | None) -> EventParts:
    """The part folders that are there."""
    parts: EventParts = {}
    spellings: dict[Part, str] = {}
    for name in subfolders(folder, DataError):
        part = part_of_folder(name)
        # A class may be called "test" too, but then its recordings lie directly in its folder.
        if part is None or not subfolders(folder / name, DataError):
            continue
        if part in spellings:
            raise DataError(
                f"{folder}: both {spellings[part]}/ and {name}/ hold the same part; keep one of "
                "them"
            )
        spellings[part] = name
        parts[part] = partial(_read_classes, folder / name, suffixes, sensor)
    return {part: parts[part] for part in get_args(Part) if part in parts}


def _read_classes(folder: Path, suffixes: set[str], sensor: tuple[int, int] | None) -> EventSource:
    classes = subfolders(folder, DataError)
    if not classes:
        raise DataError(
            f"{folder}: holds no folders; data.path must hold one folder of recordings per class"
        )
    numbers = {name: label for label, name in enumerate(classes)}
    found = [
        (numbers[place.parts[0]], str(folder / place))
        for file in find_files(folder, suffixes, error=DataError)
        if len((place := file.relative_to(folder)).parts) > 1
    ]
    found.sort()
    files, labels = [file for _, file in found], [label for label, _ in found]
    empty = sorted(set(range(len(classes))) - set(labels))
    if empty:
        raise DataError(
            f"{folder / classes[empty[0]]}: holds no recording ({', '.join(sorted(suffixes))}); "
            "add some or remove the folder"
        )
    return EventSource(
        FileRecordings(files, sensor),
        torch.arange(len(files)),
        torch.tensor(labels),
        classes,
        str(folder),
    )


def _gesture_parts(folder: Path) -> EventParts:
    inner = folder / "DvsGesture"
    folder = inner if inner.is_dir() else folder
    parts: EventParts = {
        part: partial(_read_trials, folder, folder / name)
        for part, name in _TRIALS.items()
        if (folder / name).is_file()
    }
    if not parts:
        raise DataError(
            f"{folder}: holds neither trials_to_train.txt nor trials_to_test.txt; pass the folder "
            "into which DVS128 Gesture was unpacked as data.path"
        )
    return parts


def _read_trials(folder: Path, trials: Path) -> EventSource:
    stretches: list[Stretch] = []
    labels: list[int] = []
    for trial in read_text(trials, error=DataError).split():
        check_inside(trial, str(trials), DataError)
        recording = folder / trial
        if not recording.is_file():
            raise DataError(
                f"{recording}: is listed in {trials.name} but not there; unpack the data set again"
            )
        for label, start, stop in _read_labels(recording.with_name(f"{recording.stem}_labels.csv")):
            stretches.append(Stretch(str(recording), start, stop))
            labels.append(label)
    if not stretches:
        raise DataError(f"{trials}: lists no recording; unpack the data set again")
    return EventSource(
        StretchRecordings(stretches),
        torch.arange(len(stretches)),
        torch.tensor(labels),
        list(_GESTURES),
        str(trials),
    )


def _read_labels(path: Path) -> list[tuple[int, int, int]]:
    """Label from 0, start and end in microseconds of each gesture in a recording."""
    rows = []
    try:
        lines = read_text(path, error=CorruptRecordingError).split("\n")
        for number, row in enumerate(csv.DictReader(lines), start=2):
            label = int(row["class"]) - 1
            start, stop = int(row["startTime_usec"]), int(row["endTime_usec"])
            if not 0 <= label < len(_GESTURES) or not 0 <= start < stop < 1 << 53:
                raise UserError(f"line {number} has no possible class, start and end")
            rows.append((label, start, stop))
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CorruptRecordingError(
            f"{path}: cannot be read as class, startTime_usec, endTime_usec ({error}); unpack the "
            "data set again"
        ) from error
    return rows
