"""Recordings of event cameras with boxes, as Prophesee lays out GEN1 and 1 Megapixel.

Beside a recording `NAME_td.dat` lies `NAME_bbox.npy`, structs of a time in microseconds (`t`, in
older files `ts`), the left upper corner `x`, `y`, `w`, `h` and `class_id`, besides a confidence and
the number of a track (de Tournemire et al., A Large Scale Event-based Detection Dataset for
Automotive, 2020; Perot et al., Learning to Detect Objects with a 1 Megapixel Event Camera, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.data.detection.annotated_images import AnnotatedImage, clean
from spikesight.data.detection.class_choice import chosen_classes
from spikesight.data.detection.config import ObjectConfig
from spikesight.data.detection.event_config import EventObjectConfig
from spikesight.data.detection.event_preprocessing import window_frames
from spikesight.data.errors import CorruptRecordingError, DataError
from spikesight.data.events.dat import DatRecording
from spikesight.data.part_folders import part_of_folder
from spikesight.data.sampling import derive_generator
from spikesight.data.segmentation.scene import ClassTable
from spikesight.data.segmentation.sources import ScenePart
from spikesight.files.limits import ANNOTATION_BYTES
from spikesight.files.names import show
from spikesight.files.npy import read_npy
from spikesight.files.opening import open_regular
from spikesight.files.walking import find_files, subfolders
from spikesight.objects import Objects

_EVENTS, _BOXES = "_td.dat", "_bbox.npy"
_FIELDS = ("x", "y", "w", "h", "class_id")
_TIMES = ("t", "ts")


@dataclass(frozen=True)
class Layout:
    """What a published set calls its classes, and which boxes its evaluation leaves out.

    Attributes:
        classes: By their numbers in the files.
        least_diagonal: Shortest diagonal of a box, in pixels.
        least_side: Shortest side.
    """

    classes: tuple[str, ...]
    least_diagonal: float
    least_side: float


LAYOUTS = {
    "gen1": Layout(("car", "pedestrian"), 30, 10),
    "one_mpx": Layout(
        (
            "pedestrian",
            "two wheeler",
            "car",
            "truck",
            "bus",
            "traffic sign",
            "traffic light",
        ),
        60,
        20,
    ),
}


@dataclass(frozen=True)
class Moment:
    """A time at which objects of a recording are known.

    Attributes:
        recording: Its number.
        time: In microseconds.
        boxes: float32 [N, 4], left, top, right and bottom edge.
        classes: int64 [N].
    """

    recording: int
    time: int
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class EventBoxes:
    """Frames of the events before each moment at which objects are known.

    Attributes:
        recordings: Files of events.
        moments: In the order of the recordings and times.
        config: How events become frames.
        classes: The classes.
        name: What messages call them.
        notes: How much there is, and what was left out.
    """

    recordings: Sequence[Path]
    moments: Sequence[Moment]
    config: EventObjectConfig
    classes: ClassTable
    name: str
    notes: str
    masks: bool = False

    def __len__(self) -> int:
        return len(self.moments)

    def describe(self, index: int) -> str:
        """The recording and the time."""
        moment = self.moments[index]
        return f"{self.recordings[moment.recording]} at {moment.time} us"

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        """Counts the events before a moment."""
        moment, config = self.moments[index], self.config
        recording = _open(self.recordings[moment.recording], config.sensor)
        events = recording.between(moment.time - config.window, moment.time)
        frames = window_frames(events, moment.time, config.window, config.frames, config.slicing)
        objects = Objects(
            torch.from_numpy(moment.boxes),
            torch.from_numpy(moment.classes),
            torch.zeros(len(moment.boxes), dtype=torch.bool),
        )
        size = (recording.sensor[1], recording.sensor[0])
        return AnnotatedImage(frames, clean(objects, size))


@lru_cache(maxsize=64)
def _open(file: Path, sensor: tuple[int, int] | None) -> DatRecording:
    return DatRecording.open(file, sensor)


def read_event_boxes(config: ObjectConfig, part: ScenePart) -> EventBoxes:
    """Finds the recordings of a part and reads their boxes; no event is read yet.

    Parts are the folders train, val and test; where there is no val, a share of the training
    recordings validates.

    Args:
        config: Describes the data set; its format is a name in `LAYOUTS`.
        part: "train", "val" or "test".

    Raises:
        DataError: Files are missing or damaged.
    """
    layout, events = LAYOUTS[config.format], config.events
    table = chosen_classes(layout.classes, config.class_names, config.path, complete=True)
    name = f"{config.path} ({part})"
    recordings = _recordings(config, part)
    boxed = [(file, boxes) for file in recordings if (boxes := _boxes_of(file)).is_file()]
    if not boxed:
        raise DataError(
            f"{name}: none of its {len(recordings)} recordings has a file of boxes beside it "
            f"(NAME{_BOXES}); unpack them too"
        )
    least = (
        layout.least_diagonal if events.least_diagonal is None else events.least_diagonal,
        layout.least_side if events.least_side is None else events.least_side,
    )
    numbers = np.full(len(layout.classes), -1, np.int64)
    for number, label in enumerate(table.names):
        numbers[layout.classes.index(label)] = number
    moments: list[Moment] = []
    stated = 0
    for recording, (_, file) in enumerate(boxed):
        stored = read_boxes(file, len(layout.classes))
        stated += len(stored.t)
        moments += _moments(stored, recording, numbers, events.skip, least)
    if not moments:
        raise DataError(
            f"{name}: none of its {stated} boxes is left; pass smaller objects.events.skip, "
            "least_diagonal or least_side"
        )
    kept = sum(len(moment.boxes) for moment in moments)
    notes = (
        f"{len(moments):,} moments of {len(boxed):,} recordings with {kept:,} boxes; "
        f"{stated - kept:,} small or early boxes left out"
    )
    if len(boxed) < len(recordings):
        notes += f", {len(recordings) - len(boxed):,} recordings without boxes left out"
    return EventBoxes([file for file, _ in boxed], moments, events, table, name, notes)


def _boxes_of(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(_EVENTS) + _BOXES)


def _recordings(config: ObjectConfig, part: ScenePart) -> list[Path]:
    """Files of events of a part, sorted."""
    folder = Path(config.path)
    if not folder.is_dir():
        raise DataError(f"{config.path}: no such folder; correct objects.path")
    wanted = {"train": "train", "val": "validation", "test": "test"}
    folders = {part_of_folder(name): name for name in subfolders(folder, DataError)}
    present = {key: folders[value] for key, value in wanted.items() if value in folders}
    if part == "test" and "test" not in present:
        raise DataError(f"{config.path}: keeps no objects for testing; pass the split validation")
    divided = part == "val" and "val" not in present
    inner = folder / present.get("train" if divided else part, "")
    files = [
        Path(file)
        for file in find_files(inner, {".dat"}, error=DataError)
        if str(file).endswith(_EVENTS)
    ]
    files.sort()
    if not files:
        raise DataError(f"{inner}: holds no recording (NAME{_EVENTS}); correct objects.path")
    if part == "test" or "val" in present:
        return files
    count = round(config.validation_fraction * len(files))
    if not 0 < count < len(files):
        raise DataError(
            f"{config.path}: has no folder val, and objects.validation_fraction "
            f"{config.validation_fraction} of its {len(files)} recordings leaves none for a part; "
            "pass another fraction"
        )
    order = torch.randperm(len(files), generator=derive_generator(config.split_seed)).tolist()
    chosen = order[:count] if part == "val" else order[count:]
    return [files[place] for place in sorted(chosen)]


@dataclass(frozen=True)
class StoredBoxes:
    """The boxes of a file, in the order of their times.

    Attributes:
        t: Microseconds, int64 [N].
        edges: float32 [N, 4], left, top, right and bottom edge.
        classes: Numbers of the layout's classes, int64 [N].
    """

    t: NDArray[np.int64]
    edges: NDArray[np.float32]
    classes: NDArray[np.int64]


def read_boxes(file: Path, classes: int) -> StoredBoxes:
    """Reads a file of boxes.

    Args:
        file: Ends in `_bbox.npy`.
        classes: Classes of the layout; others cannot be.

    Raises:
        CorruptRecordingError: If it is damaged or has other fields.
    """
    name = show(str(file))
    with open_regular(file, CorruptRecordingError) as stream:
        size = stream.seek(0, 2)
        ANNOTATION_BYTES.check(size, name, CorruptRecordingError)
        stream.seek(0)
        try:
            stored = read_npy(stream, size, structs=True)
        # A damaged head fails in any way that Python's parser can.
        except Exception as error:
            raise CorruptRecordingError(
                f"{name}: is no NumPy file of boxes ({show(str(error))}); unpack it again"
            ) from error
    present = stored.dtype.names or ()
    time = next((field for field in _TIMES if field in present), None)
    lost = [field for field in _FIELDS if field not in present]
    if time is None or lost or stored.ndim != 1:
        raise CorruptRecordingError(
            f"{name}: has the fields {', '.join(present) or 'none'}, not one row per box with t, "
            f"{', '.join(_FIELDS)}; unpack it again"
        )
    left, top, width, height = (stored[field].astype(np.float64) for field in "xywh")
    edges = np.stack([left, top, left + width, top + height], 1)
    numbers: NDArray[Any] = stored["class_id"]
    wrong = ~np.isfinite(edges).all(1) | (np.abs(edges) > 1e6).any(1)
    wrong |= (numbers < 0) | (numbers >= classes) | (numbers != np.floor(numbers))
    wrong |= ~(np.abs(stored[time].astype(np.float64)) < 1 << 53)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise CorruptRecordingError(
            f"{name}: box {first} is {show(str(stored[first]))}, no box of one of {classes} "
            "classes; unpack it again, or pass the objects.format of the set"
        )
    t = stored[time].astype(np.int64)
    order = np.argsort(t, kind="stable")
    return StoredBoxes(t[order], edges[order].astype(np.float32), numbers[order].astype(np.int64))


def _moments(
    boxes: StoredBoxes,
    recording: int,
    numbers: NDArray[np.int64],
    skip: int,
    least: tuple[float, float],
) -> list[Moment]:
    """The moments of a recording at which boxes are left."""
    width, height = (boxes.edges[:, 2:] - boxes.edges[:, :2]).T
    diagonal, side = least
    kept = (boxes.t >= skip) & (np.hypot(width, height) >= diagonal)
    kept &= (width >= side) & (height >= side) & (width > 0) & (height > 0)
    kept &= numbers[boxes.classes] >= 0
    t = boxes.t[kept]
    times, starts = np.unique(t, return_index=True)
    edges = np.split(boxes.edges[kept], starts[1:])
    classes = np.split(numbers[boxes.classes[kept]], starts[1:])
    return [
        Moment(recording, int(time), some, labels)
        for time, some, labels in zip(times, edges, classes, strict=False)
    ]
