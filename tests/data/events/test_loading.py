"""Data sets of recordings, from their folders to batches of frames."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.data import (
    BatchLoader,
    CorruptImageError,
    DataConfig,
    DataError,
    EventPreprocessing,
    PredictionImages,
    Preprocessing,
    build_evaluation_loader,
    build_loaders,
)
from spikesight.data.events import event_frames, saccade_events, save_events
from spikesight.data.events.config import EventConfig
from spikesight.data.events.conversion import convert_photos
from spikesight.data.events.loading import RecordedFrames
from spikesight.data.events.sources import SaccadeRecordings
from spikesight.data.photos.digits import read_digits

from ..image_files import write_classes
from .files import encode_aedat2, encode_aedat3, encode_es, encode_n_mnist, random_events, write


def cifar10_dvs(folder: Path) -> Path:
    for number, name in enumerate(("airplane", "bird")):
        for i in range(6):
            content = encode_aedat2(random_events(30, 128, 128, 10 * number + i))
            write(folder / name / f"cifar10_{name}_{i}.aedat", content)
    return folder


def n_mnist(folder: Path) -> Path:
    for part, each in (("Train", 4), ("Test", 2)):
        for digit in "012":
            for i in range(each):
                events = random_events(40, 34, 34, 100 * len(part) + 10 * int(digit) + i)
                write(folder / part / digit / f"{i:05}.bin", encode_n_mnist(events))
    return folder


def gesture(folder: Path) -> Path:
    inside = folder / "DvsGesture"
    for seed, name in enumerate(("user01_led", "user02_lab", "user03_led")):
        events = random_events(200, 128, 128, seed)
        third = int(events.t[-1]) // 3
        write(inside / f"{name}.aedat", encode_aedat3(events))
        rows = [f"{c + 1},{c * third},{(c + 1) * third}" for c in range(3)]
        text = "class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n"
        write(inside / f"{name}_labels.csv", text.encode())
    write(inside / "trials_to_train.txt", b"user01_led.aedat\nuser02_lab.aedat\n")
    write(inside / "trials_to_test.txt", b"user03_led.aedat\n")
    return folder


def folders(folder: Path, part: str = "") -> Path:
    for number, name in enumerate(("fan", "wheel")):
        for i in range(3):
            events = random_events(50, 20, 16, 10 * number + i)
            write(folder / part / name / f"{i}.es", encode_es(events))
        save_events(random_events(50, 20, 16, 7), folder / part / name / "stored.npz")
    return folder


def config(data_format: str, path: Path | str = "", **fields: Any) -> DataConfig:
    events = {name: fields.pop(name) for name in list(fields) if name in vars(EventConfig())}
    return DataConfig(
        data_format,  # type: ignore[arg-type]
        str(path),
        **{"image_size": 16, "channels": 2, "workers": 0, "validation_fraction": 0.25, **fields},
        events=EventConfig(**{"frames": 3, **events}),
    )


def total(loader: BatchLoader) -> tuple[list[torch.Size], list[int]]:
    shapes, labels = [], []
    for images, found in loader:
        assert images.dtype == torch.uint8
        shapes.append(images.shape[1:])
        labels += found.tolist()
    return shapes, labels


@pytest.mark.parametrize("cache_mb", [0, 64])
@pytest.mark.parametrize("channels", [2, 3])
def test_cifar10_dvs(tmp_path: Path, cache_mb: int, channels: int) -> None:
    settings = config(
        "cifar10_dvs", cifar10_dvs(tmp_path), cache_mb=cache_mb, channels=channels, frames=4
    )
    loaders = build_loaders(settings, 4, seed=0)
    assert loaders.classes == ["airplane", "bird"]
    assert isinstance(loaders.preprocessing, EventPreprocessing)
    assert loaders.preprocessing.channels == channels
    loaders.train.set_epoch(0)
    shapes, labels = total(loaders.train)
    assert shapes == [torch.Size([4, channels, 16, 16])] * 2
    assert len(loaders.train.dataset) == 8
    shapes, labels = total(loaders.validation)
    assert sorted(labels) == [0, 0, 1, 1]
    assert loaders.test is None


def test_frames_in_memory_equal_frames_made_anew(tmp_path: Path) -> None:
    folder = cifar10_dvs(tmp_path)
    batches = []
    for cache_mb, workers in ((0, 0), (64, 0), (0, 1), (64, 1)):
        settings = config("cifar10_dvs", folder, cache_mb=cache_mb, workers=workers, roll=2)
        loaders = build_loaders(settings, 4, seed=3)
        loaders.train.set_epoch(1)
        batches.append(
            [
                loaders.batch_transform_train(images, loaders.train.generator(number))
                for number, (images, _) in enumerate(loaders.train)
            ]
        )
    for other in batches[1:]:
        assert all(torch.equal(a, b) for a, b in zip(batches[0], other, strict=True))


def test_n_mnist_keeps_its_test_recordings(tmp_path: Path) -> None:
    loaders = build_loaders(config("nmnist", n_mnist(tmp_path), image_size=36), 2, seed=0)
    assert loaders.classes == ["0", "1", "2"]
    assert loaders.test is not None
    assert sorted(total(loaders.test)[1]) == [0, 0, 1, 1, 2, 2]
    images, _ = next(iter(loaders.validation))
    assert int(images[..., 1:-1, 1:-1].sum()) == int(images.sum())  # 34 pixels in 36
    whole = build_loaders(config("nmnist", tmp_path, validation_fraction=0.0), 2, seed=0)
    assert len(whole.train.dataset) == 12
    assert len(whole.validation.dataset) == 6


def test_gestures_are_stretches_of_recordings(tmp_path: Path) -> None:
    settings = config("dvs128_gesture", gesture(tmp_path), image_size=128, frames=2)
    settings = replace(settings, validation_fraction=0.0)
    loaders = build_loaders(settings, 6, seed=0)
    assert loaders.classes[0] == "hand_clapping"
    assert len(loaders.classes) == 11
    images, labels = next(iter(loaders.validation))
    assert sorted(labels.tolist()) == [0, 1, 2]
    events = random_events(200, 128, 128, 2)
    third = int(events.t[-1]) // 3
    for number, image in zip(labels.tolist(), images, strict=True):
        part = events.between(number * third, (number + 1) * third)
        assert torch.equal(image, event_frames(part, 2).to(torch.uint8))


@pytest.mark.parametrize("divided", [False, True])
def test_folders_of_any_recordings(tmp_path: Path, divided: bool) -> None:
    for part in ("train", "val") if divided else ("",):
        folders(tmp_path, part)
    fraction = 0.0 if divided else 0.25
    settings = config("event_folders", tmp_path, validation_fraction=fraction)
    loaders = build_loaders(settings, 2, seed=0)
    assert loaders.classes == ["fan", "wheel"]
    assert len(loaders.train.dataset) + len(loaders.validation.dataset) == (16 if divided else 8)


def test_photos_become_events(tmp_path: Path) -> None:
    photos = write_classes(tmp_path / "photos", per_class=4)
    settings = config("folder", photos, saccades=True, slicing="time", max_count=3)
    loaders = build_loaders(settings, 2, seed=0)
    images, _ = next(iter(loaders.validation))
    assert images.shape[1:] == (3, 2, 16, 16)
    assert 0 < images.max() <= 3
    shown = loaders.batch_transform_eval(images)
    assert shown.dtype == torch.float32
    assert torch.equal(shown, images.float())

    converted = tmp_path / "recordings"
    count, events = convert_photos(DataConfig("folder", str(photos)), converted, size=16)
    assert count == 8
    assert events > 8 * 50
    again = config("event_folders", converted, slicing="time", max_count=3)
    second = build_loaders(again, 2, seed=0)
    for first, other in zip(loaders.validation, second.validation, strict=True):
        assert torch.equal(first[1], other[1])
    with pytest.raises(DataError, match="is not empty"):
        convert_photos(DataConfig(), converted)
    with pytest.raises(DataError, match="holds recordings already"):
        convert_photos(config("event_folders", converted), tmp_path / "more")
    count, _ = convert_photos(DataConfig(), tmp_path / "digits", size=8, limit=5)
    assert count == 5


@pytest.mark.parametrize("cache_mb", [0, 64])
def test_corrupt_recordings_stop_or_are_skipped(
    tmp_path: Path, cache_mb: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cifar10_dvs(tmp_path)
    broken = folder / "bird" / "cifar10_bird_3.aedat"
    broken.write_bytes(broken.read_bytes()[:-3])
    write(folder / "bird" / "empty.aedat", encode_aedat2(random_events(0, 128, 128)))
    settings = config("cifar10_dvs", folder, cache_mb=cache_mb)
    with pytest.raises(CorruptImageError, match=r"cut off|holds no event"):  # noqa: PT012
        loaders = build_loaders(settings, 2, seed=0)
        list(loaders.train)
        list(loaders.validation)
    with caplog.at_level(logging.WARNING):
        loaders = build_loaders(replace(settings, on_corrupt="skip"), 2, seed=0)
        labels = total(loaders.train)[1] + total(loaders.validation)[1]
    skipped = {**loaders.train.skipped, **loaders.validation.skipped}
    assert {Path(name).name for name in skipped} == {broken.name, "empty.aedat"}
    assert "skipped" in caplog.text
    assert len(labels) >= 9
    for file in folder.rglob("*.aedat"):
        file.write_bytes(b"")
    loaded = replace(settings, on_corrupt="skip")
    with pytest.raises(DataError, match=r"every (recording|image of a training batch) is corrupt"):
        list(build_loaders(loaded, 2, seed=0).train)


def test_evaluation_takes_what_the_model_learned_from(tmp_path: Path) -> None:
    settings = config("cifar10_dvs", cifar10_dvs(tmp_path), frames=4, slicing="time", channels=3)
    loaders = build_loaders(settings, 4, seed=0)
    other = replace(settings, image_size=8, channels=2, events=EventConfig(frames=9))
    loader = build_evaluation_loader(other, 4, loaders.preprocessing)
    for (images, labels), (own, own_labels) in zip(loader, loaders.validation, strict=True):
        assert torch.equal(images, own)
        assert torch.equal(labels, own_labels)
    photos = Preprocessing(8, 3, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(DataError, match="trained on photos but the data are events"):
        build_evaluation_loader(settings, 4, photos)
    with pytest.raises(DataError, match="trained on events but the data are photos"):
        build_evaluation_loader(DataConfig(), 4, loaders.preprocessing)


def test_prediction_reads_recordings(tmp_path: Path) -> None:
    folder = folders(tmp_path / "recordings")
    photos = write_classes(tmp_path / "photos", per_class=1)
    events = EventPreprocessing(16, 2, 3)
    assert EventPreprocessing.from_dict(events.to_dict()) == events
    reader = PredictionImages(folder, events, batch_size=5)
    assert len(reader) == 8
    files, images = next(iter(reader))
    assert images.shape == (5, 3, 2, 16, 16)
    expected = event_frames(random_events(50, 20, 16, 0), 3, size=16).clamp(max=127)
    expected = expected.flip(-2) if files[0].suffix == ".es" else expected
    assert int(images[0].sum()) == int(expected.sum())
    with pytest.raises(DataError, match="holds no image"):
        PredictionImages(photos, events)
    with pytest.raises(DataError, match="is a photo but the model learned from recordings"):
        next(iter(PredictionImages(photos / "cat" / "00.png", events)))
    moved = replace(events, saccades=True)
    _, images = next(iter(PredictionImages(photos, moved)))
    assert images.shape == (2, 3, 2, 16, 16)
    assert images.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": [0.5, 0.5], "std": [0.5, 0.5]}, "data.mean is for photos"),
        ({"std": [0.5, 0.5], "mean": [0.0, 0.0]}, "data.mean is for photos"),
        ({"rand_augment": "rand-m9"}, "data.rand_augment is for photos .* data.events.roll"),
        ({"random_erasing": 0.5}, "data.random_erasing is for photos .* data.events.cutout"),
        ({"random_crop_padding": 2}, "data.random_crop_padding is for photos"),
        ({"random_resized_crop": 0.5}, "data.random_resized_crop is for photos"),
        ({"crop_fraction": 0.9}, "data.crop_fraction is for photos"),
        ({"channels": 1}, "data.channels is 1; for events pass 2"),
        ({"saccades": True}, "data.events.saccades moves photos but data.format is nmnist"),
    ],
)
def test_what_is_for_photos_only(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        config("nmnist", "somewhere", **fields)


def test_photos_have_no_two_channels() -> None:
    with pytest.raises(DataError, match=r"pass 1 \(grey\) or 3 \(colour\)"):
        DataConfig(channels=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frames": 0}, "data.events.frames is 0"),
        ({"slicing": "space"}, "data.events.slicing is 'space'"),
        ({"threshold": 0}, "data.events.threshold is 0"),
        ({"max_count": 256}, "data.events.max_count is 256"),
        ({"sensor": [34]}, r"data.events.sensor is \[34\]; pass two numbers"),
        ({"cache_mb": -1}, "data.events.cache_mb is -1"),
        ({"rotation": 90}, "data.events.rotation is 90"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        EventConfig(**fields)


def test_folders_that_hold_something_else(tmp_path: Path) -> None:
    for data_format, message in (
        ("nmnist", "neither Train/ nor Test/"),
        ("dvs128_gesture", "neither trials_to_train.txt nor"),
        ("cifar10_dvs", "holds no folders"),
        ("event_folders", "holds no folders"),
    ):
        with pytest.raises(DataError, match=message):
            build_loaders(config(data_format, tmp_path), 2, seed=0)
        with pytest.raises(DataError, match="no such folder"):
            build_loaders(config(data_format, tmp_path / "nowhere"), 2, seed=0)
    (tmp_path / "bird").mkdir()
    with pytest.raises(DataError, match="bird: holds no recording"):
        build_loaders(config("cifar10_dvs", tmp_path), 2, seed=0)


def test_damaged_gestures(tmp_path: Path) -> None:
    inside = gesture(tmp_path) / "DvsGesture"
    labels = inside / "user02_lab_labels.csv"
    for text, message in (
        ("class,startTime_usec,endTime_usec\n12,0,5\n", "line 2 has no possible class"),
        ("class,startTime_usec,endTime_usec\n1,9,5\n", "line 2 has no possible class"),
        ("a,b\n1,2\n", "cannot be read as class, startTime_usec"),
    ):
        labels.write_text(text)
        with pytest.raises(DataError, match=message):
            build_loaders(config("dvs128_gesture", tmp_path), 2, seed=0)
    (inside / "user02_lab.aedat").unlink()
    with pytest.raises(DataError, match=r"is listed in trials_to_train\.txt but not"):
        build_loaders(config("dvs128_gesture", tmp_path), 2, seed=0)


def test_a_sensor_that_recordings_do_not_state(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            events = random_events(20, 240, 180, i)
            write(tmp_path / name / f"{i}.bin", encode_n_mnist(events))
    with pytest.raises(DataError, match="outside of the sensor of 34 x 34"):
        build_loaders(config("event_folders", tmp_path, validation_fraction=0.5), 2, seed=0)
    settings = config("event_folders", tmp_path, sensor=[240, 180], validation_fraction=0.5)
    images, _ = next(iter(build_loaders(settings, 2, seed=0).validation))
    assert int(images.sum()) == 40


def test_photos_are_moved_one_by_one() -> None:
    settings = config("digits", saccades=True, slicing="time", frames=4, cache_mb=0)
    loaders = build_loaders(settings, 8, seed=0)
    images, labels = next(iter(loaders.validation))
    assert isinstance(loaders.validation.dataset, RecordedFrames)
    recordings = loaders.validation.dataset.source.recordings
    assert isinstance(recordings, SaccadeRecordings)
    photo = recordings.photos[0]
    frames = event_frames(saccade_events(photo, 16), 4, "time")
    assert torch.equal(images[0], frames.clamp(max=127).to(torch.uint8))
    digits = read_digits()
    twins = (digits.images == photo).flatten(1).all(1)
    assert int(labels[0]) in digits.labels[twins].tolist()
