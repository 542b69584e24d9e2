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
from typing import Literal

import torch

from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.n_mnist import N_MNIST_SENSOR
from spikesight.data.events.reading import RECORDING_SUFFIXES
from spikesight.data.events.sources import EventSource, FileRecordings, Stretch, StretchRecordings

Part = Literal["train", "validation", "test"]
EventParts = dict[Part, Callable[[], EventSource]]

_PARTS: dict[str, Part] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
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


def _spellings(folder: Path) -> list[list[str]]:
    """Names of the part folders that are there, by part."""
    names = sorted(child.name for child in folder.iterdir() if child.is_dir())
    return [
        [name for name in names if _PARTS.get(name.lower()) == part]
        for part in dict.fromkeys(_PARTS.values())
    ]


def _divided(folder: Path, suffixes: set[str], sensor: tuple[int, int] | None) -> EventParts:
    parts: EventParts = {}
    for names in _spellings(folder):
        # A class may be called "test" too, but then its recordings lie directly in its folder.
        names = [name for name in names if any(p.is_dir() for p in (folder / name).iterdir())]
        if len(names) > 1:
            raise DataError(
                f"{folder}: both {names[0]}/ and {names[1]}/ hold the same part; keep one of them"
            )
        for name in names:
            parts[_PARTS[name.lower()]] = partial(_read_classes, folder / name, suffixes, sensor)
    return parts


def _read_classes(folder: Path, suffixes: set[str], sensor: tuple[int, int] | None) -> EventSource:
    classes = sorted(
        child.name for child in folder.iterdir() if child.is_dir() and child.name[0] != "."
    )
    if not classes:
        raise DataError(
            f"{folder}: holds no folders; data.path must hold one folder of recordings per class"
        )
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(
            str(file)
            for file in (folder / name).rglob("*")
            if file.suffix.lower() in suffixes and file.is_file() and file.name[0] != "."
        )
        if not found:
            raise DataError(
                f"{folder / name}: holds no recording ({', '.join(sorted(suffixes))}); add some "
                "or remove the folder"
            )
        files += found
        labels += [label] * len(found)
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
    for trial in trials.read_text().split():
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
        with path.open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                label = int(row["class"]) - 1
                start, stop = int(row["startTime_usec"]), int(row["endTime_usec"])
                if not 0 <= label < len(_GESTURES) or not 0 <= start < stop:
                    raise ValueError(f"line {number} has no possible class, start and end")
                rows.append((label, start, stop))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptRecordingError(
            f"{path}: cannot be read as class, startTime_usec, endTime_usec ({error}); unpack the "
            "data set again"
        ) from error
    return rows
