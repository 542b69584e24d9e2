"""Recordings with boxes beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.data import DataError
from spikesight.data.detection import (
    EventObjectConfig,
    ObjectConfig,
    build_object_evaluation_loader,
    build_object_loaders,
    read_objects,
)
from spikesight.data.events.dat import DatRecording
from tests.data.events.files import assert_same, encode_dat, random_events, write

from .event_files import GEN1_BOX, box_table, write_boxed, write_gen1


def config(path: Path, **fields: Any) -> ObjectConfig:
    events = {
        name: fields.pop(name)
        for name in list(fields)
        if name in EventObjectConfig.__dataclass_fields__
    }
    return ObjectConfig(
        **{"format": "gen1", "path": str(path), "image_size": (240, 304), **fields},
        events=EventObjectConfig(**events),
    )


def test_boxes_and_the_events_before_them(tmp_path: Path) -> None:
    write_gen1(tmp_path)
    source = read_objects(config(tmp_path, frames=4, window=200_000), "val")
    assert source.classes.names == ("car", "pedestrian")
    assert len(source) == 4
    assert source.describe(1).endswith("drive_0_td.dat at 700000 us")
    assert "4 moments of 2 recordings with 6 boxes" in source.notes
    sample = source.read(1, False)
    # What reaches out of the sensor is cut off.
    assert sample.objects.boxes.tolist() == [[5, 6, 45, 56], [290, 200, 304, 240]]
    assert sample.objects.classes.tolist() == [1, 0]
    events = random_events(4000, 304, 240, 0, longest=400).between(500_000, 700_000)
    counts = np.zeros((4, 2, 240, 304), np.uint8)
    np.add.at(
        counts, ((events.t - 500_000) // 50_000, events.polarity.astype(int), events.y, events.x), 1
    )
    np.testing.assert_array_equal(sample.image.numpy(), counts)
    assert source.read(3, False).image.sum() > 0  # of the later fields


def test_small_and_early_boxes_are_left_out(tmp_path: Path) -> None:
    rows = [
        (499_999, 0, 0, 50, 50, 0),
        (500_000, 0, 0, 50, 50, 0),
        (600_000, 0, 0, 9.5, 50, 0),
        (600_000, 0, 0, 20, 20, 0),
        (600_000, 0, 0, 24, 18, 0),
        (600_000, 0, 0, 0, 90, 1),
    ]
    for part in ("train", "val"):
        write_boxed(tmp_path / part, "a", random_events(9, 304, 240), box_table(rows))
    kept = read_objects(config(tmp_path), "train")
    assert [len(kept.read(i, False).objects) for i in range(len(kept))] == [1, 1]
    assert "4 small or early boxes left out" in kept.notes
    few = read_objects(config(tmp_path, skip=0, least_diagonal=0, least_side=0), "train")
    assert [len(few.read(i, False).objects) for i in range(len(few))] == [1, 1, 3]
    with pytest.raises(DataError, match=r"none of its 6 boxes is left; pass smaller"):
        read_objects(config(tmp_path, least_side=60), "train")
    large = [(600_000, 0, 0, 50, 34, 2)]
    write_boxed(tmp_path / "test", "b", random_events(9, 1280, 720), box_table(large))
    with pytest.raises(DataError, match="none of its 1 boxes"):
        read_objects(config(tmp_path, format="one_mpx", least_diagonal=61), "test")
    assert len(read_objects(config(tmp_path, format="one_mpx", class_names=["car"]), "test")) == 1


def test_parts_and_recordings_without_boxes(tmp_path: Path) -> None:
    write_gen1(tmp_path, ("Train",))
    (tmp_path / "Train" / "drive_1_bbox.npy").unlink()
    write(tmp_path / "Train" / "other.dat", b"")
    chosen = [read_objects(config(tmp_path, validation_fraction=0.5), "train").notes]
    with pytest.raises(DataError, match="none of its 1 recordings has a file of boxes"):
        read_objects(config(tmp_path, validation_fraction=0.5), "val")
    assert "of 1 recordings" in chosen[0]
    with pytest.raises(DataError, match="leaves none for a part"):
        read_objects(config(tmp_path, validation_fraction=0.1), "val")
    with pytest.raises(DataError, match="keeps no objects for testing"):
        read_objects(config(tmp_path), "test")
    with pytest.raises(DataError, match="no such folder"):
        read_objects(config(tmp_path / "nowhere"), "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no recording \(NAME_td\.dat\)"):
        read_objects(config(tmp_path / "empty"), "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"boxes", "is no NumPy file of boxes"),
        (np.zeros(3), "has the fields none"),
        (np.zeros(3, [("t", "<i8"), ("x", "<f4")]), "has the fields t, x, not one row"),
        (np.zeros(3, [("t", object)]), "is no NumPy file of boxes .*no numbers"),
        (box_table([(1, 0, 0, 9, 9, 2)]), r"box 0 is .*no box of one of 2 classes"),
        (box_table([(1, 0, 0, 9, 9, 0), (1, np.nan, 0, 9, 9, 0)]), "box 1 is"),
        (box_table([(1, 0, 0, np.inf, 9, 0)]), "box 0 is"),
        (box_table([(2**63, 0, 0, 9, 9, 0)]), "box 0 is"),
        (box_table([(1, 0, 0, 9, 9, 0)])[None], "has the fields .*not one row per box"),
    ],
)
def test_damaged_files_of_boxes(tmp_path: Path, content: Any, message: str) -> None:
    write_gen1(tmp_path)
    file = tmp_path / "train" / "drive_0_bbox.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    with pytest.raises(DataError, match=rf"drive_0_bbox\.npy: {message}"):
        read_objects(config(tmp_path), "train")


def test_cut_off_files_of_boxes(tmp_path: Path) -> None:
    write_gen1(tmp_path)
    file = tmp_path / "train" / "drive_0_bbox.npy"
    content = file.read_bytes()
    for end in (5, 100, len(content) - 1):
        file.write_bytes(content[:end])
        with pytest.raises(DataError, match=r"drive_0_bbox\.npy: is no NumPy file of boxes"):
            read_objects(config(tmp_path), "train")


def test_stretches_of_a_recording(tmp_path: Path) -> None:
    events = random_events(500, 304, 240, longest=30)
    recording = DatRecording.open(write(tmp_path / "a.dat", encode_dat(events)))
    last = int(events.t[-1])
    for start, stop in ((0, last + 1), (-9, 40), (100, 100), (777, 3000), (last, last + 9)):
        assert_same(recording.between(start, stop), events.between(start, stop))
    for content, message in (
        (encode_dat(events)[:-1], "cut off"),
        (encode_dat(events, None), "no header"),
        (encode_dat(events, "Version 2"), "does not state its sensor"),
    ):
        with pytest.raises(DataError, match=rf"a\.dat: .*{message}"):
            DatRecording.open(write(tmp_path / "a.dat", content))


def test_batches_of_training_and_evaluation(tmp_path: Path) -> None:
    write_gen1(tmp_path)
    described = config(tmp_path, frames=4, image_size=(128, 160), flip=True, workers=0)
    loaders = build_object_loaders(described, 2, seed=0)
    images, objects = next(iter(loaders.train))
    assert (images.shape, images.dtype) == ((2, 4, 2, 128, 160), torch.uint8)
    assert len(objects) == 2
    assert loaders.classes == ["car", "pedestrian"]
    pairs = [pair for _, batch in loaders.validation for pair in batch]
    assert sorted(len(there) for there, _ in pairs) == [1, 1, 2, 2]
    there, fit = pairs[0]
    assert there.boxes.tolist() == [[10, 20, 40, 60]]
    assert (fit.photo, fit.shown) == ((240, 304), (126, 160))
    other = build_object_evaluation_loader(described, 2, loaders.preprocessing, split="test")
    assert sum(len(batch[0]) for batch in other) == 4


def test_damaged_recordings_are_skipped(tmp_path: Path) -> None:
    write_gen1(tmp_path)
    late = box_table([(600_000, 10, 20, 30, 40, 0)], GEN1_BOX)
    np.save(tmp_path / "train" / "drive_9_bbox.npy", late)
    write(tmp_path / "train" / "drive_9_td.dat", b"% Version 2\n\x0e\x08")
    for choice in ("skip", "stop"):
        described = config(tmp_path, on_corrupt=choice, workers=0)
        train = build_object_loaders(described, 5, seed=0).train
        if choice == "skip":
            assert sum(len(batch[1]) for batch in train) == 4
        else:
            with pytest.raises(DataError, match=r"drive_9_td\.dat: has events of type 14"):
                list(train)
