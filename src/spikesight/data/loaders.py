"""From a description of a data set to the loaders of a training or an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from spikesight.data.batches import (
    BatchDataset,
    BatchLoader,
    EncodedImages,
    MemoryImages,
    Turns,
    read_all,
    usual_workers,
)
from spikesight.data.config import DataConfig
from spikesight.data.errors import DataError
from spikesight.data.events.augmentation import EventEvaluationTransform, EventTrainingTransform
from spikesight.data.events.loading import (
    RecordedFrames,
    event_preprocessing,
    event_training_transform,
    keep_if_small,
    match_config,
    move_photos,
)
from spikesight.data.events.preprocessing import EventPreprocessing
from spikesight.data.events.sources import EventSource
from spikesight.data.photos.augmentation import EvaluationTransform, TrainingTransform
from spikesight.data.photos.preprocessing import Preprocessing, fit
from spikesight.data.photos.randaugment import ImageAugmentation
from spikesight.data.sampling import EpochSampler, EvaluationSampler, filled_batch_size
from spikesight.data.shards.order import in_reading_order
from spikesight.data.sources import ArraySource, EncodedSource, Source, relabel
from spikesight.data.splits import choose_labelled, divide_training, find_parts, read_splits
from spikesight.options import check_arguments

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DECODING_BATCH = 256
IMAGENET_GREY_MEAN, IMAGENET_GREY_STD = (0.449,), (0.226,)


@dataclass
class Loaders:
    """What a training reads.

    Attributes:
        train: Training batches, in an order of their own each epoch.
        validation: Validation batches, each image once over all processes.
        test: Test batches, if the data set keeps images that neither of the others uses.
        classes: Names of the classes, in the order of the labels.
        batch_transform_train: Augments and normalises a training batch where it is.
        batch_transform_eval: Normalises a validation or test batch where it is.
        preprocessing: What evaluation and prediction do to an image; keep it with the model.
        config: The configuration with the mean and standard deviation that are used.
    """

    train: BatchLoader[Tensor, Tensor]
    validation: BatchLoader[Tensor, Tensor]
    test: BatchLoader[Tensor, Tensor] | None
    classes: list[str]
    batch_transform_train: TrainingTransform | EventTrainingTransform
    batch_transform_eval: EvaluationTransform | EventEvaluationTransform
    preprocessing: Preprocessing | EventPreprocessing
    config: DataConfig


def build_loaders(
    config: DataConfig,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = True,
    accumulation: int = 1,
    even: bool = False,
    unlabelled: bool = False,
) -> Loaders:
    """Reads a data set and makes the loaders of a training.

    Args:
        config: Describes the data set and its augmentation.
        batch_size: Images per batch and process.
        seed: Seed of the order and the augmentation; the split has its own in the configuration.
        rank: Number of this process.
        world_size: Number of processes.
        drop_last: Leave out a last training batch that is not full; where there are too few images
            for full ones, training batches are as large as they fill.
        accumulation: Full batches that an epoch must have.
        even: Whether training batches must hold pairs.
        unlabelled: Whether images train whose labels may not be read, too.

    Returns:
        The loaders, the batch transforms and what to keep for prediction.

    Raises:
        DataError: The data set cannot be used as described.
    """
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; pass at least 1")
    train, validation, test = read_splits(config)
    if not unlabelled:
        train = choose_labelled(config, train)
    classes = train.classes
    skipped: list[dict[str, str]] = []
    sources: list[Source | None] = []
    for source in (train, validation, test):
        failed: dict[str, str] = {}
        sources.append(source and _prepare(relabel(source, classes), config, failed))
        skipped.append(failed)
    ready = sources[0]
    assert ready is not None
    in_memory = isinstance(ready, ArraySource)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if config.holds_events:
        preprocessing: Preprocessing | EventPreprocessing = event_preprocessing(config, classes)
    else:
        assert not isinstance(ready, EventSource)
        mean, std = _normalization(ready, config)
        config = replace(config, mean=list(mean), std=list(std))
        preprocessing = _preprocessing(config, classes, mean, std)
    augmentation = None
    if config.rand_augment is not None or (config.random_resized_crop and not in_memory):
        augmentation = ImageAugmentation(
            config.image_size,
            mean,
            seed,
            config.rand_augment,
            None if in_memory else config.random_resized_crop,
            1.0 if in_memory else config.crop_fraction,
        )
    order = EpochSampler(len(ready.labels), seed, rank, world_size, drop_last=drop_last)
    filled = batch_size
    if drop_last:
        filled = filled_batch_size(batch_size, order.samples_per_epoch, accumulation, even=even)
    if not filled:
        raise DataError(
            f"{ready.name}: {len(ready.labels)} training images over {world_size} processes do "
            f"not fill {accumulation} batch(es) of {2 if even else 1}; add images"
            + ("" if accumulation == 1 else ", or pass a smaller accumulation")
            + (", or leave mix out" if even else "")
        )
    workers = usual_workers(config.workers, in_memory and augmentation is None)
    ready, order = in_reading_order(
        ready, order, filled, accumulation, config.shuffle_buffer, workers
    )
    train_loader = BatchLoader(
        _dataset(
            ready,
            preprocessing,
            augmentation,
            Turns(len(ready.labels), seed) if config.alternate_flip else None,
        ),
        order,
        filled,
        seed,
        drop_last,
        workers,
        config.on_corrupt,
        skipped[0],
    )
    evaluation = [
        None
        if source is None
        else _evaluation_loader(source, preprocessing, batch_size, config, failed, rank, world_size)
        for source, failed in zip(sources[1:], skipped[1:], strict=True)
    ]
    assert evaluation[0] is not None
    return Loaders(
        train=train_loader,
        validation=evaluation[0],
        test=evaluation[1],
        classes=classes,
        batch_transform_train=event_training_transform(config)
        if config.holds_events
        else TrainingTransform(
            mean,
            std,
            config.random_resized_crop if in_memory else None,
            config.random_crop_padding,
            config.horizontal_flip,
            config.random_erasing,
        ),
        batch_transform_eval=preprocessing.batch_transform,
        preprocessing=preprocessing,
        config=config,
    )


def build_probe_loaders(
    config: DataConfig, batch_size: int, preprocessing: Preprocessing
) -> tuple[BatchLoader[Tensor, Tensor], BatchLoader[Tensor, Tensor]]:
    """Training images whose labels may be read, and validation images, as evaluation sees them.

    Args:
        config: Describes the data set.
        batch_size: Images per batch.
        preprocessing: That of the model.

    Returns:
        Two loaders that give each image once, whole to every process.

    Raises:
        DataError: There are no such images.
    """
    train, validation, _ = read_splits(config)
    config = _matched(config, preprocessing)
    loaders = []
    for source in (choose_labelled(config, train), validation):
        failed: dict[str, str] = {}
        ready = _prepare(relabel(source, train.classes), config, failed)
        loaders.append(_evaluation_loader(ready, preprocessing, batch_size, config, failed, 0, 1))
    return loaders[0], loaders[1]


def build_evaluation_loader(
    config: DataConfig,
    batch_size: int,
    preprocessing: Preprocessing | EventPreprocessing,
    split: Literal["validation", "test", "all"] = "validation",
    rank: int = 0,
    world_size: int = 1,
) -> BatchLoader[Tensor, Tensor]:
    """Reads only the images on which a trained model is evaluated.

    Args:
        config: Describes the data set; its sizes and normalisation are not used.
        batch_size: Images per batch and process.
        preprocessing: That of the model; labels follow the order of its classes.
        split: `validation` and `test` are the same images as in `build_loaders`; `all` are all
            images of a data set that is not divided, such as a tar file of held-out images.
        rank: Number of this process.
        world_size: Number of processes.

    Returns:
        A loader that gives each image once; `preprocessing.batch_transform` normalises.

    Raises:
        DataError: There are no such images, or they are of other classes than the model's.
    """
    check_arguments(build_evaluation_loader, {"split": split}, error=DataError)
    if config.holds_events != isinstance(preprocessing, EventPreprocessing):
        kinds = ("photos", "events") if config.holds_events else ("events", "photos")
        raise DataError(
            f"the model was trained on {kinds[0]} but the data are {kinds[1]}; pass another "
            "data.format or data.events.saccades"
        )
    named_by_numbers = config.format in ("idx", "shards") and config.class_names is None
    if named_by_numbers and preprocessing.classes:
        config = replace(config, class_names=list(preprocessing.classes))
    parts = find_parts(config)
    reader: Callable[[], Source] | None = None
    if split == "all":
        if len(parts) > 1:
            raise DataError(
                f"{config.path}: is divided into {', '.join(parts)}; pass the split validation "
                "or test, or one of its folders as data.path"
            )
        (reader,) = parts.values()
    elif split == "validation" and config.validation_fraction > 0:
        if "train" in parts:
            train = parts["train"]
            reader = lambda: divide_training(config, train())[1]  # noqa: E731
    elif split == "validation":
        reader = parts.get("validation") or parts.get("test")
    else:
        reader = parts.get("test")
        if reader is None and config.validation_fraction > 0:
            reader = parts.get("validation")
    if reader is None:
        raise DataError(
            f"{config.path or config.format}: keeps no images for the split {split!r}; it holds "
            f"{', '.join(parts)}; pass another split"
        )
    source = reader()
    if preprocessing.classes:
        source = relabel(source, preprocessing.classes)
    config = _matched(config, preprocessing)
    failed: dict[str, str] = {}
    source = _prepare(source, config, failed)
    return _evaluation_loader(source, preprocessing, batch_size, config, failed, rank, world_size)


def _matched(config: DataConfig, preprocessing: Preprocessing | EventPreprocessing) -> DataConfig:
    """The configuration that prepares samples as a trained model expects them."""
    if isinstance(preprocessing, EventPreprocessing):
        return match_config(config, preprocessing)
    return replace(
        config,
        image_size=preprocessing.image_size,
        channels=1 if preprocessing.channels == 1 else 3,
        crop_fraction=preprocessing.crop_fraction,
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
    )


def _preprocessing(
    config: DataConfig, classes: list[str], mean: Sequence[float], std: Sequence[float]
) -> Preprocessing:
    size, crop = config.image_size, config.crop_fraction
    return Preprocessing(size, config.channels, tuple(mean), tuple(std), crop, tuple(classes))


def _prepare(source: Source, config: DataConfig, failed: dict[str, str]) -> Source:
    """Brings images that are or shall be in memory to the model's size and channels."""
    if config.events.saccades:
        if isinstance(source, EncodedSource):
            source = _decode_all(source, replace(config, channels=3), failed)
        assert isinstance(source, ArraySource)
        source = move_photos(source, config)
    if isinstance(source, EventSource):
        cheap = len(source.labels) <= 8 * DECODING_BATCH
        return keep_if_small(source, config, usual_workers(config.workers, cheap), failed)
    if isinstance(source, EncodedSource):
        return _decode_all(source, config, failed) if config.in_memory else source
    count, size, channels = len(source.labels), config.image_size, config.channels
    images = torch.empty(count, channels, size, size, dtype=torch.uint8)
    for start in range(0, count, 4096):
        chunk = source.images[start : start + 4096]
        if channels == 1 and chunk.shape[1] == 3:
            from torchvision.transforms.functional import rgb_to_grayscale

            chunk = rgb_to_grayscale(chunk)
        images[start : start + 4096] = fit(chunk, size, config.crop_fraction)
    return replace(source, images=images)


def _decode_all(source: EncodedSource, config: DataConfig, failed: dict[str, str]) -> ArraySource:
    # The mean and the standard deviation are not known yet, and reading needs none.
    channels = config.channels
    reader = _preprocessing(config, [], [0.0] * channels, [1.0] * channels)
    images = EncodedImages(source, reader)
    workers = usual_workers(config.workers, len(source.labels) <= 8 * DECODING_BATCH)
    return read_all(source, images, DECODING_BATCH, workers, config.on_corrupt, failed)


def _normalization(
    source: ArraySource | EncodedSource, config: DataConfig
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if config.mean is not None and config.std is not None:
        return tuple(config.mean), tuple(config.std)
    if isinstance(source, EncodedSource):
        if config.channels == 3:
            return IMAGENET_MEAN, IMAGENET_STD
        return IMAGENET_GREY_MEAN, IMAGENET_GREY_STD
    mean, std = measure(source.images)
    if min(std) == 0:
        raise DataError(
            f"{source.name}: a channel is the same in all training images, so it has no standard "
            "deviation; pass data.mean and data.std"
        )
    return mean, std


def measure(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measures the mean and the standard deviation of each channel.

    They are taken from a histogram, hence exact in any order, and rounded to 6 decimals.

    Args:
        images: uint8 `[N, C, H, W]`.

    Returns:
        Means and standard deviations, one per channel, of images in 0..1.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.int64)
        for start in range(0, len(images), 4096):
            pixels = images[start : start + 4096, channel].flatten()
            counts += torch.bincount(pixels, minlength=256)
        share = counts.double() / counts.sum()
        mean = float((share * levels).sum())
        means.append(round(mean, 6))
        deviations.append(round(float((share * (levels - mean) ** 2).sum()) ** 0.5, 6))
    return tuple(means), tuple(deviations)


def _dataset(
    source: Source,
    preprocessing: Preprocessing | EventPreprocessing,
    augmentation: ImageAugmentation | None = None,
    turns: Turns | None = None,
) -> BatchDataset[Tensor, Tensor]:
    if isinstance(source, ArraySource):
        return MemoryImages(source, augmentation, turns)
    if isinstance(source, EventSource):
        assert isinstance(preprocessing, EventPreprocessing)
        return RecordedFrames(source, preprocessing)
    assert isinstance(preprocessing, Preprocessing)
    return EncodedImages(source, preprocessing, augmentation, turns)


def _evaluation_loader(
    source: Source,
    preprocessing: Preprocessing | EventPreprocessing,
    batch_size: int,
    config: DataConfig,
    skipped: dict[str, str],
    rank: int,
    world_size: int,
) -> BatchLoader[Tensor, Tensor]:
    return BatchLoader(
        _dataset(source, preprocessing),
        EvaluationSampler(len(source.labels), rank, world_size),
        batch_size,
        workers=usual_workers(config.workers, isinstance(source, ArraySource)),
        on_corrupt=config.on_corrupt,
        skipped=skipped,
    )
