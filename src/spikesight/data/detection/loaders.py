"""From a description of images with objects to the loaders of a training or an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikesight.data.batches import Batch, BatchLoader, Draw, read_each, usual_workers
from spikesight.data.detection.annotated_images import ObjectSource
from spikesight.data.detection.config import ObjectConfig
from spikesight.data.detection.event_preprocessing import EventObjectPreprocessing
from spikesight.data.detection.kept_images import KeptImages
from spikesight.data.detection.preparation import (
    AnyObjectAugmentation,
    AnyObjectPreprocessing,
    preparation,
)
from spikesight.data.detection.preprocessing import Fit
from spikesight.data.detection.sources import object_part_of, read_objects
from spikesight.data.errors import DataError
from spikesight.data.sampling import EpochSampler, EvaluationSampler, filled_batch_size
from spikesight.objects import Objects

FittedObjects = tuple[Objects, Fit]
_ANY_SIZE = 1 << 20  # pixels

ObjectBatches = BatchLoader[Tensor, tuple[Objects, ...]]
ObjectEvaluationBatches = BatchLoader[Tensor, tuple[FittedObjects, ...]]


@dataclass(eq=False)
class ObjectImages(Dataset[Batch[Tensor, tuple[Any, ...]]]):
    """Images with objects, a batch at a time: augmented, or as they are evaluated.

    Attributes:
        source: The images.
        prepare: Augments, so that objects are in pixels of the result; or fits photos into the
            model's image, so that objects stay in pixels of the photo and come with the fit.
        masks: Whether objects come with masks.
    """

    source: ObjectSource
    prepare: AnyObjectAugmentation | AnyObjectPreprocessing
    masks: bool

    def __len__(self) -> int:
        return len(self.source)

    def _read(self, index: int, epoch: int) -> tuple[Tensor, Any]:
        if isinstance(self.prepare, AnyObjectAugmentation):
            indices = [index, *self.prepare.partners(epoch, index, len(self.source))]
            photos = [self.source.read(chosen, self.masks) for chosen in indices]
            return self.prepare(photos, epoch, index)
        photo = self.source.read(index, self.masks)
        image, fit = self.prepare.fit(photo.image)
        return image, (photo.objects, fit)

    def __getitem__(self, draw: Draw) -> Batch[Tensor, tuple[Any, ...]]:
        read, _, failures = read_each(draw, self._read, self.source.describe)
        images = torch.empty(len(read), *self.prepare.input_shape, dtype=torch.uint8)
        for place, (image, _) in enumerate(read):
            images[place] = image
        return Batch(images, tuple(objects for _, objects in read), failures)


@dataclass
class ObjectLoaders:
    """What the training of a detector reads.

    Attributes:
        train: Augmented images, in an order of their own each epoch.
        validation: Validation images, each once over all processes.
        preprocessing: What evaluation and prediction do to a photo; keep it with the model.
        config: The configuration.
    """

    train: ObjectBatches
    validation: ObjectEvaluationBatches
    preprocessing: AnyObjectPreprocessing
    config: ObjectConfig

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.preprocessing.classes)


def build_object_loaders(
    config: ObjectConfig,
    batch_size: int,
    seed: int,
    masks: bool = False,
    rank: int = 0,
    world_size: int = 1,
    accumulation: int = 1,
) -> ObjectLoaders:
    """Makes the loaders of a training.

    Args:
        config: Describes the data set and its augmentation.
        batch_size: Images per batch and process; training batches are smaller where there are too
            few images to fill them.
        seed: Seed of the order and the augmentation.
        masks: Whether objects come with masks.
        rank: Number of this process.
        world_size: Number of processes.
        accumulation: Full batches that an epoch must have.

    Raises:
        DataError: The data set cannot be used as described.
    """
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; pass at least 1")
    train, validation = read_objects(config, "train"), read_objects(config, "val")
    for source in (train, validation):
        check_masks(source, masks)
    if validation.classes != train.classes:
        raise DataError(
            f"{validation.name}: has other classes than {train.name}; give both the same list, or "
            "pass objects.class_names"
        )
    preprocessing, augmentation = preparation(config, train.classes, seed)
    if config.in_memory:
        train = KeptImages(train, _largest_shown(config))
    order = EpochSampler(len(train), seed, rank, world_size, drop_last=True)
    filled = filled_batch_size(batch_size, order.samples_per_epoch, accumulation)
    if not filled:
        raise DataError(
            f"{train.name}: {len(train)} training images over {world_size} processes do not fill "
            f"{accumulation} batch(es); add images"
            + ("" if accumulation == 1 else ", or pass a smaller accumulation")
        )
    return ObjectLoaders(
        BatchLoader(
            ObjectImages(train, augmentation, masks),
            order,
            filled,
            seed,
            drop_last=True,
            workers=usual_workers(config.workers, config.in_memory or config.composed),
            on_corrupt=config.on_corrupt,
        ),
        _evaluation_loader(validation, preprocessing, batch_size, config, masks, rank, world_size),
        preprocessing,
        config,
    )


def build_object_evaluation_loader(
    config: ObjectConfig,
    batch_size: int,
    preprocessing: AnyObjectPreprocessing,
    masks: bool = False,
    split: Literal["validation", "test", "all"] = "validation",
    rank: int = 0,
    world_size: int = 1,
) -> ObjectEvaluationBatches:
    """Makes a loader of the images on which a trained detector is evaluated.

    Args:
        config: Describes the data set.
        batch_size: Images per batch and process.
        preprocessing: That of the model.
        masks: Whether objects come with masks.
        split: "validation", "test", or "all" images of a set that is not divided.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        DataError: There are no such images, or they are of other classes than the model's.
    """
    if config.format == "voc" and config.class_names is None:
        # A part may not show every class.
        config = replace(config, class_names=list(preprocessing.classes))
    if config.holds_events != isinstance(preprocessing, EventObjectPreprocessing):
        kinds = ("photos", "events") if config.holds_events else ("events", "photos")
        raise DataError(
            f"the model learned from {kinds[0]} but objects.format {config.format!r} holds "
            f"{kinds[1]}; pass another objects.format"
        )
    source = read_objects(config, object_part_of(split))
    check_masks(source, masks)
    if source.classes.names != preprocessing.classes:
        raise DataError(
            f"{source.name}: its {len(source.classes)} classes are not the model's "
            f"{len(preprocessing.classes)} ({', '.join(preprocessing.classes[:5])}, ...); pass "
            "images with the same classes"
        )
    return _evaluation_loader(source, preprocessing, batch_size, config, masks, rank, world_size)


def check_masks(source: ObjectSource, masks: bool) -> None:
    """Refuses to learn masks where only boxes are known."""
    if masks and not source.masks:
        raise DataError(
            f"{source.name}: its objects have boxes but no masks; train a detector of boxes "
            "(task=detection) or pass a set with masks"
        )


def _largest_shown(config: ObjectConfig) -> tuple[float, float]:
    """Height and width within which training shows photos; turned ones lie across."""
    if config.holds_events:  # counts are no colours, and kept as they are
        return _ANY_SIZE, _ANY_SIZE
    factor = config.scale_range[1] * (1 + config.stretch)
    height, width = config.image_size
    if config.quarter_turns:
        height = width = max(height, width)
    return factor * height, factor * width


def _evaluation_loader(
    source: ObjectSource,
    preprocessing: AnyObjectPreprocessing,
    batch_size: int,
    config: ObjectConfig,
    masks: bool,
    rank: int,
    world_size: int,
) -> ObjectEvaluationBatches:
    return BatchLoader(
        ObjectImages(source, preprocessing, masks),
        EvaluationSampler(len(source), rank, world_size),
        batch_size,
        workers=usual_workers(config.workers, config.composed),
        on_corrupt=config.on_corrupt,
    )
