from __future__ import annotations

import logging
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from spikesight.data import (
    BatchLoader,
    CorruptImageError,
    DataConfig,
    DataError,
    Loaders,
    PredictionImages,
    Preprocessing,
    build_evaluation_loader,
    build_loaders,
)
from spikesight.data.batches import Draw
from spikesight.data.loaders import measure

from .image_files import encode, write_classes, write_tar

AUGMENTED: dict[str, Any] = {
    "random_crop_padding": 2,
    "horizontal_flip": True,
    "random_resized_crop": 0.5,
    "random_erasing": 0.5,
}


def digits(**fields: Any) -> DataConfig:
    return replace(DataConfig("digits", image_size=16, channels=1), **fields)


def folder(path: Path, **fields: Any) -> DataConfig:
    return replace(DataConfig("folder", str(path), image_size=10, workers=0), **fields)


def epoch(loaders: Loaders, number: int, start: int = 0) -> list[tuple[Tensor, Tensor]]:
    loaders.train.set_epoch(number, start)
    return [
        (loaders.batch_transform_train(images, loaders.train.generator(batch)), labels)
        for batch, (images, labels) in enumerate(loaders.train, start=start)
    ]


def assert_equal(first: list[tuple[Tensor, Tensor]], second: list[tuple[Tensor, Tensor]]) -> None:
    for (images, labels), (other_images, other_labels) in zip(first, second, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def labels_of(loader: BatchLoader) -> list[int]:
    return [label for _, labels in loader for label in labels.tolist()]


def test_digits_without_a_network() -> None:
    loaders = build_loaders(digits(), 64, seed=0)
    assert len(loaders.train.dataset) + len(loaders.validation.dataset) == 1797
    assert len(loaders.train) == len(loaders.train.dataset) // 64
    assert loaders.classes == list("0123456789")
    assert loaders.test is None
    images, labels = next(iter(loaders.train))
    assert (images.dtype, images.shape) == (torch.uint8, (64, 1, 16, 16))
    assert (labels.dtype, labels.shape) == (torch.int64, (64,))
    everything = torch.cat(
        [loaders.batch_transform_eval(images) for images, _ in epoch_images(loaders)]
    )
    assert everything.mean().abs() < 0.02
    assert (everything.std() - 1).abs() < 0.02


def epoch_images(loaders: Loaders) -> list[tuple[Tensor, Tensor]]:
    return list(loaders.train)


@pytest.mark.parametrize("kind", ["memory", "encoded", "randaugment"])
def test_a_resumed_epoch_is_the_same(classes_folder: Path, kind: str) -> None:
    config = folder(classes_folder, **AUGMENTED, in_memory=kind != "encoded")
    if kind == "randaugment":
        config.rand_augment = "rand-m9-mstd0.5-inc1"
    first = epoch(build_loaders(config, 3, seed=1), 4)
    loaders = build_loaders(config, 3, seed=1)
    epoch(loaders, 0)
    random.random()
    torch.rand(3)
    assert_equal(epoch(loaders, 4, start=1), first[1:])
    other = epoch(loaders, 5)
    assert not torch.equal(other[0][0], first[0][0])
    another_seed = epoch(build_loaders(config, 3, seed=2), 4)
    assert not torch.equal(another_seed[0][0], first[0][0])
    assert len(loaders.train) == len(first) == 2


def test_loading_leaves_global_randomness_alone(classes_folder: Path) -> None:
    config = folder(classes_folder, **AUGMENTED, rand_augment="rand-m9")
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state())  # noqa: NPY002
    epoch(build_loaders(config, 3, seed=1), 0)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state())  # noqa: NPY002
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_workers_give_the_same_batches(classes_folder: Path) -> None:
    config = folder(classes_folder, **AUGMENTED, rand_augment="rand-m9-mstd0.5-inc1")
    alone = build_loaders(config, 3, seed=1)
    helped = build_loaders(replace(config, workers=1), 3, seed=1)
    for number in (0, 1):
        assert_equal(epoch(alone, number), epoch(helped, number))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_of_randaugment_works(channels: int) -> None:
    config = digits(channels=channels, workers=0, rand_augment="rand-m10-n6-p1-mstd1-inc1")
    loaders = build_loaders(config, 50, seed=0)
    plain = build_loaders(replace(config, rand_augment=None), 50, seed=0)
    (images, labels), (before, same_labels) = next(iter(loaders.train)), next(iter(plain.train))
    assert images.shape == before.shape
    assert torch.equal(labels, same_labels)
    assert (images != before).flatten(1).any(1).float().mean() > 0.9


def test_memory_and_files_show_the_same_images(classes_folder: Path, tmp_path: Path) -> None:
    config = folder(classes_folder, mean=[0.5] * 3, std=[0.2] * 3)
    tar = write_tar(tmp_path / "a.tar.gz", classes_folder, mode="w:gz")
    expected = epoch(build_loaders(config, 4, seed=0), 0)
    for other in (
        replace(config, in_memory=True),
        replace(config, format="tar", path=str(tar)),
        replace(config, format="tar", path=str(tar), in_memory=True),
    ):
        assert_equal(epoch(build_loaders(other, 4, seed=0), 0), expected)


def test_the_batch_transform_does_not_depend_on_batch_mates() -> None:
    loaders = build_loaders(digits(), 64, seed=0)
    images, _ = next(iter(loaders.train))
    whole = loaders.batch_transform_eval(images)
    assert torch.equal(whole[5:6], loaders.batch_transform_eval(images[5:6]))


def test_validation_counts_each_image_once_over_processes() -> None:
    alone = build_loaders(digits(), 50, seed=0)
    two = [build_loaders(digits(), 50, 0, rank, 2) for rank in range(2)]
    together = [labels_of(loaders.validation) for loaders in two]
    assert sorted(together[0] + together[1]) == sorted(labels_of(alone.validation))
    assert len(two[0].validation) == len(list(two[0].validation))
    steps = zip(*(epoch_labels(loaders) for loaders in two), strict=True)
    doubled = build_loaders(digits(), 100, 0)
    for (first, second), (_, labels) in zip(steps, epoch(doubled, 0), strict=False):
        assert torch.equal(torch.stack((first, second), 1).flatten(), labels)


def epoch_labels(loaders: Loaders) -> list[Tensor]:
    return [labels for _, labels in loaders.train]


def test_a_last_batch_may_be_kept() -> None:
    loaders = build_loaders(digits(), 500, seed=0, drop_last=False)
    assert [len(labels) for _, labels in loaders.train] == [500, 500, 438]
    assert len(loaders.train) == 3


def test_an_iteration_may_be_broken_off(classes_folder: Path) -> None:
    loaders = build_loaders(folder(classes_folder, workers=1), 2, seed=0)
    whole = epoch(loaders, 0)
    next(iter(loaders.train))
    assert_equal(epoch(loaders, 0), whole)


def test_loaders_can_be_pickled(classes_folder: Path) -> None:
    loaders = build_loaders(folder(classes_folder, rand_augment="rand-m9"), 2, seed=0)
    expected = epoch(loaders, 0)
    assert_equal(epoch(pickle.loads(pickle.dumps(loaders)), 0), expected)


def test_normalisation_is_measured_on_the_training_images() -> None:
    images = torch.randint(0, 256, (5000, 2, 3, 3), dtype=torch.uint8)
    mean, std = measure(images)
    values = images.double() / 255
    assert np.allclose(mean, values.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(std, values.std((0, 2, 3), correction=0), atol=1e-6)
    loaders = build_loaders(digits(), 64, seed=0)
    assert loaders.train.dataset.images.shape[0] == 1438  # type: ignore[attr-defined]
    assert measure(loaders.train.dataset.images) == (  # type: ignore[attr-defined]
        loaders.preprocessing.mean,
        loaders.preprocessing.std,
    )
    assert loaders.config.mean == list(loaders.preprocessing.mean)


def test_a_share_of_the_labels_leaves_validation_whole() -> None:
    whole, few = build_loaders(digits(), 8, seed=0), build_loaders(digits(label_fraction=0.1), 8, 0)
    assert len(few.train.dataset) == 143
    assert labels_of(few.validation) == labels_of(whole.validation)
    without = build_loaders(digits(label_fraction=0.1), 8, 0, unlabelled=True)
    assert len(without.train.dataset) == len(whole.train.dataset) == 1438
    other = build_loaders(digits(label_fraction=0.1, label_seed=1), 8, 0)
    same = [a.train.dataset.images.equal(few.train.dataset.images) for a in (few, other)]  # type: ignore[attr-defined]
    assert same == [True, False]


def test_constant_images_need_a_standard_deviation(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            (tmp_path / name / f"{i}.png").write_bytes(encode())
    with pytest.raises(DataError, match=r"pass data.mean and data.std"):
        build_loaders(folder(tmp_path, in_memory=True), 2, seed=0)


# --- corrupt images ---


def damage(classes_folder: Path) -> Path:
    path = classes_folder / "dog" / "02.png"
    path.write_bytes(encode(seed=1, size=(40, 40), kind="JPEG")[:600])
    return path


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_truncated_image_stops_by_name(
    classes_folder: Path, workers: int, in_memory: bool
) -> None:
    path = damage(classes_folder)
    config = folder(classes_folder, workers=workers, in_memory=in_memory)
    with pytest.raises(CorruptImageError) as caught:  # noqa: PT012
        loaders = build_loaders(config, 2, seed=0)
        labels_of(loaders.train)
        labels_of(loaders.validation)
    assert str(caught.value).startswith(f"{path}: not a readable image")
    assert "--on-corrupt skip" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_truncated_image_is_skipped_and_counted(
    classes_folder: Path, workers: int, in_memory: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = damage(classes_folder)
    config = folder(classes_folder, workers=workers, in_memory=in_memory, on_corrupt="skip")
    with caplog.at_level(logging.WARNING):
        loaders = build_loaders(config, 2, seed=0)
        for _ in range(2):
            train, validation = labels_of(loaders.train), labels_of(loaders.validation)
    skipped = loaders.train.skipped | loaders.validation.skipped
    assert list(skipped) == [str(path)]
    assert sorted(train + validation).count(0) == 5
    assert sorted(train + validation).count(1) >= 3
    assert [r.message for r in caplog.records] == [f"skipped 1 corrupt images: {path}"]


def test_a_damaged_member_of_a_tar_file_is_named(classes_folder: Path, tmp_path: Path) -> None:
    damage(classes_folder)
    tar = write_tar(tmp_path / "a.tar", classes_folder)
    config = folder(tar, format="tar", in_memory=True)
    with pytest.raises(CorruptImageError, match=r"a\.tar: member dog/02\.png: not a readable"):
        build_loaders(config, 2, seed=0)


def test_what_is_not_corrupt_is_never_skipped(classes_folder: Path) -> None:
    (classes_folder / "dog" / "02.png").write_bytes(encode((1, 2, 3, 4), mode="RGBA"))
    for in_memory in (True, False):
        with pytest.raises(DataError, match="transparent"):  # noqa: PT012
            config = folder(classes_folder, on_corrupt="skip", in_memory=in_memory)
            loaders = build_loaders(config, 2, seed=0)
            labels_of(loaders.train)
            labels_of(loaders.validation)


def test_nothing_but_corrupt_images_is_an_error(classes_folder: Path) -> None:
    for path in classes_folder.rglob("*.png"):
        path.write_bytes(b"")
    config = folder(classes_folder, on_corrupt="skip")
    with pytest.raises(DataError, match="every image is corrupt"):
        build_loaders(replace(config, in_memory=True), 2, seed=0)
    loaders = build_loaders(config, 2, seed=0)
    with pytest.raises(DataError, match="every image of a training batch is corrupt"):
        labels_of(loaders.train)
    assert labels_of(loaders.validation) == []


# --- evaluation and prediction ---


def test_evaluation_alone_reads_the_same_images(tmp_path: Path) -> None:
    for name, count in {"train": 6, "val": 3, "test": 2}.items():
        write_classes(tmp_path / name, count)
    for fraction in (0.0, 0.34):
        config = folder(tmp_path, validation_fraction=fraction, in_memory=True)
        loaders = build_loaders(config, 4, seed=0)
        assert loaders.test is not None
        fresh = folder(tmp_path, validation_fraction=fraction, image_size=99)
        for split, expected in (("validation", loaders.validation), ("test", loaders.test)):
            found = build_evaluation_loader(fresh, 4, loaders.preprocessing, split)  # type: ignore[arg-type]
            assert_equal(list(found), list(expected))
    with pytest.raises(DataError, match="is divided into train, validation, test"):
        build_evaluation_loader(fresh, 4, loaders.preprocessing, "all")


def test_held_out_images_are_numbered_as_the_model_knows_them(
    classes_folder: Path, tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "held-out.tar", classes_folder)
    preprocessing = Preprocessing(8, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("ant", "dog", "cat"))
    config = DataConfig("tar", str(tar))
    loader = build_evaluation_loader(config, 4, preprocessing, "all")
    by_position = sorted(zip(loader.sampler, labels_of(loader), strict=True))
    assert [label for _, label in by_position] == [2] * 5 + [1] * 5
    with pytest.raises(DataError, match="keeps no images for the split 'test'"):
        build_evaluation_loader(config, 4, preprocessing, "test")
    with pytest.raises(DataError, match="class 'dog' is not among"):
        build_evaluation_loader(config, 4, replace(preprocessing, classes=("cat", "ant")), "all")


def test_validation_classes_must_be_training_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val")
    (tmp_path / "val" / "cat").rename(tmp_path / "val" / "emu")
    with pytest.raises(DataError, match=r"val: class 'emu' is not among"):
        build_loaders(folder(tmp_path, validation_fraction=0), 2, seed=0)


def test_prediction_sees_what_validation_sees(classes_folder: Path, tmp_path: Path) -> None:
    config = folder(classes_folder, crop_fraction=0.8, validation_fraction=0.4)
    loaders = build_loaders(config, 4, seed=0)
    restored = Preprocessing.from_dict(loaders.preprocessing.to_dict())
    assert restored == loaders.preprocessing
    source = loaders.validation.dataset.source  # type: ignore[attr-defined]
    files = [source.archive.describe(position) for position in source.positions.tolist()]
    pictures = PredictionImages(files, restored, batch_size=3)
    names = [str(name) for batch, _ in pictures for name in batch]
    assert names == files
    expected = torch.cat([loaders.batch_transform_eval(x) for x, _ in loaders.validation])
    predicted = torch.cat([images for _, images in pictures])
    assert torch.equal(predicted[list(loaders.validation.sampler)], expected)


def test_prediction_finds_files_and_names_what_fails(classes_folder: Path) -> None:
    preprocessing = Preprocessing(8, 1, (0.5,), (0.5,))
    pictures = PredictionImages(classes_folder, preprocessing)
    assert len(pictures) == 10
    path = damage(classes_folder)
    with pytest.raises(CorruptImageError, match=str(path)):
        list(pictures)
    skipping = PredictionImages(classes_folder, preprocessing, on_corrupt="skip")
    assert sum(len(files) for files, _ in skipping) == 9
    assert list(skipping.skipped) == [str(path)]
    with pytest.raises(DataError, match="no such file or folder"):
        PredictionImages(classes_folder / "none.png", preprocessing)
    (classes_folder / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        PredictionImages([classes_folder / "empty"], preprocessing)


def test_other_sizes_are_resized_on_the_shorter_side_and_cropped(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    path.write_bytes(encode(seed=3, size=(40, 20)))
    image = Preprocessing(20, 3, (0.5,) * 3, (0.5,) * 3).read_file(path)
    expected = np.random.default_rng(3).integers(0, 256, (20, 40, 3), np.uint8)[:, 10:30]
    assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


# --- configuration ---


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "folder"},
        {"format": "painted_digits"},
        {"channels": 4},
        {"image_size": 0},
        {"validation_fraction": 1.0},
        {"random_erasing": 2.0},
        {"random_resized_crop": 0.0},
        {"crop_fraction": 1.5},
        {"mean": [0.5]},
        {"mean": [0.5] * 3, "std": [0.5]},
        {"mean": [0.5] * 3, "std": [0.5, 0.0, 0.5]},
        {"random_crop_padding": -1},
        {"workers": -1},
    ],
)
def test_wrong_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="pass "):
        DataConfig(**fields)


def test_other_wrong_settings_are_refused() -> None:
    with pytest.raises(DataError, match="no policy of timm's; pass one such as"):
        build_loaders(digits(rand_augment="strong"), 4, seed=0)
    with pytest.raises(DataError, match=r"do not fill 5000 batch\(es\).*smaller accumulation"):
        build_loaders(digits(), 2, seed=0, accumulation=5000)
    with pytest.raises(DataError, match="batch_size is 0"):
        build_loaders(digits(), 0, seed=0)
    with pytest.raises(DataError, match=r"pass data.validation_fraction"):
        build_loaders(digits(validation_fraction=0.0), 4, seed=0)


def test_batches_are_as_large_as_the_images_fill() -> None:
    loaders = build_loaders(digits(), 5000, seed=0)
    images = len(loaders.train.dataset)
    assert loaders.train.batch_size == images < 5000
    assert [len(labels) for _, labels in loaders.train] == [images]
    assert loaders.validation.batch_size == 5000
    halves = build_loaders(digits(), 5000, seed=0, accumulation=2, even=True).train
    assert halves.batch_size == images // 2 - images // 2 % 2
    assert len(halves) == 2
    assert build_loaders(digits(), 7, seed=0, even=True).train.batch_size == 7


def test_the_configuration_is_read_from_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=DataConfig)
    values = parser.parse_string(
        "data: {format: digits, channels: 1, mean: [0.5], std: [0.2], random_resized_crop: 0.3}"
    )
    config = parser.instantiate(values).data
    assert config == DataConfig(
        "digits", channels=1, mean=[0.5], std=[0.2], random_resized_crop=0.3
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_flips_in_turn_show_each_image_both_ways(classes_folder: Path, in_memory: bool) -> None:
    config = folder(classes_folder, alternate_flip=True, in_memory=in_memory)
    plain = build_loaders(replace(config, alternate_flip=False), 3, seed=1).train.dataset
    dataset = build_loaders(config, 3, seed=1).train.dataset
    indices = list(range(len(dataset)))
    image = plain[Draw(indices, 0)].images
    shown = [dataset[Draw(indices, number)].images for number in range(3)]
    assert torch.equal(shown[0], shown[2])
    assert torch.equal(shown[0], shown[1].flip(-1))
    mirrored = [not torch.equal(a, b) for a, b in zip(shown[0], image, strict=True)]
    assert any(mirrored)
    assert not all(mirrored)
    with pytest.raises(DataError, match="pass one of them"):
        replace(config, horizontal_flip=True)
