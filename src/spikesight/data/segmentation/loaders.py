"""From a description of a segmentation data set to the loaders of a training or an evaluation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikesight.data.batches import Batch, BatchLoader, Draw, Failure
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.sampling import EpochSampler, EvaluationSampler, filled_batch_size
from spikesight.data.segmentation.augmentation import SceneAugmentation
from spikesight.data.segmentation.config import SceneConfig
from spikesight.data.segmentation.preprocessing import ScenePreprocessing
from spikesight.data.segmentation.scene import SceneSource, Truth
from spikesight.data.segmentation.sources import part_of, read_scenes

Truths = tuple[Truth, ...]
TrainingBatches = BatchLoader[Tensor, Truths]
EvaluationBatches = BatchLoader[tuple[Tensor, ...], Truths]


class TrainingScenes(Dataset[Batch[Tensor, Truths]]):
    """Augmented scenes, all of one size: uint8 [B, 3, H, W] and B truths.

    Args:
        source: The scenes.
        augmentation: What happens to each.
        semantic: Whether the objects of a class are one segment.
    """

    def __init__(
        self, source: SceneSource, augmentation: SceneAugmentation, semantic: bool
    ) -> None:
        self.source = source
        self.augmentation = augmentation
        self.semantic = semantic

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw) -> Batch[Tensor, Truths]:
        images: list[Tensor] = []
        truths: list[Truth] = []
        failures: list[Failure] = []
        for index in draw.indices:
            try:
                image, truth = self.augmentation(self.source.read(index), draw.epoch, index)
            except DataError as error:
                failures.append(_failure(self.source, index, error))
                continue
            images.append(image)
            truths.append(truth.semantic(len(self.source.classes)) if self.semantic else truth)
        stacked = torch.stack(images) if images else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
        return Batch(stacked, tuple(truths), tuple(failures))


class EvaluationScenes(Dataset[Batch[tuple[Tensor, ...], Truths]]):
    """Scenes as they are evaluated: photos of any size, truths at their own size.

    Args:
        source: The scenes.
        preprocessing: Says how large a photo is shown.
        semantic: Whether the objects of a class are one segment.
    """

    def __init__(
        self, source: SceneSource, preprocessing: ScenePreprocessing, semantic: bool
    ) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self.semantic = semantic

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, draw: Draw) -> Batch[tuple[Tensor, ...], Truths]:
        images: list[Tensor] = []
        truths: list[Truth] = []
        failures: list[Failure] = []
        for index in draw.indices:
            try:
                scene = self.source.read(index)
            except DataError as error:
                failures.append(_failure(self.source, index, error))
                continue
            images.append(self.preprocessing.fit(scene.image))
            truth = scene.truth
            truths.append(truth.semantic(len(self.source.classes)) if self.semantic else truth)
        return Batch(tuple(images), tuple(truths), tuple(failures))


def _failure(source: SceneSource, index: int, error: DataError) -> Failure:
    return Failure(source.describe(index), str(error), isinstance(error, CorruptImageError))


@dataclass
class SceneLoaders:
    """What the training of a segmenter reads.

    Attributes:
        train: Augmented scenes, in an order of their own each epoch.
        validation: Validation scenes, each once over all processes.
        preprocessing: What evaluation and prediction do to a photo; keep it with the model.
        config: The configuration.
    """

    train: TrainingBatches
    validation: EvaluationBatches
    preprocessing: ScenePreprocessing
    config: SceneConfig

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(self.preprocessing.classes)


def build_scene_loaders(
    config: SceneConfig,
    batch_size: int,
    seed: int,
    panoptic: bool,
    rank: int = 0,
    world_size: int = 1,
    accumulation: int = 1,
) -> SceneLoaders:
    """Makes the loaders of a training.

    Args:
        config: Describes the data set and its augmentation.
        batch_size: Scenes per batch and process; training batches are smaller where there are too
            few scenes to fill them.
        seed: Seed of the order and the augmentation.
        panoptic: Whether objects are told apart.
        rank: Number of this process.
        world_size: Number of processes.
        accumulation: Full batches that an epoch must have.

    Raises:
        DataError: The data set cannot be used as described.
    """
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; pass at least 1")
    train, validation = read_scenes(config, "train"), read_scenes(config, "val")
    for source in (train, validation):
        check_panoptic(source, panoptic)
    if validation.classes != train.classes:
        raise DataError(
            f"{validation.name}: has other classes than {train.name}; give both the same list"
        )
    preprocessing = ScenePreprocessing(
        config.mean, config.std, config.crop_size, config.evaluation_size, train.classes
    )
    red, green, blue = (round(255 * value) for value in config.mean)
    augmentation = SceneAugmentation(
        config.crop_size,
        config.base_short_side,
        config.scale_range,
        config.large_scale_jitter,
        config.largest_category_share,
        config.flip,
        config.photometric_distortion,
        (red, green, blue),
        seed,
    )
    order = EpochSampler(len(train), seed, rank, world_size, drop_last=True)
    filled = filled_batch_size(batch_size, order.samples_per_epoch, accumulation)
    if not filled:
        raise DataError(
            f"{train.name}: {len(train)} training scenes over {world_size} processes do not fill "
            f"{accumulation} batch(es); add scenes"
            + ("" if accumulation == 1 else ", or pass a smaller accumulation")
        )
    return SceneLoaders(
        BatchLoader(
            TrainingScenes(train, augmentation, not panoptic),
            order,
            filled,
            seed,
            drop_last=True,
            workers=_workers(config),
            on_corrupt=config.on_corrupt,
        ),
        _evaluation_loader(
            validation, preprocessing, batch_size, config, panoptic, rank, world_size
        ),
        preprocessing,
        config,
    )


def build_scene_evaluation_loader(
    config: SceneConfig,
    batch_size: int,
    preprocessing: ScenePreprocessing,
    panoptic: bool,
    split: Literal["validation", "test", "all"] = "validation",
    rank: int = 0,
    world_size: int = 1,
) -> EvaluationBatches:
    """Makes a loader of the scenes on which a trained segmenter is evaluated.

    Args:
        config: Describes the data set.
        batch_size: Scenes per batch and process.
        preprocessing: That of the model.
        panoptic: Whether objects are told apart.
        split: "validation" or "test".
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        DataError: There are no such scenes, or they are of other classes than the model's.
    """
    source = read_scenes(config, part_of(split))
    check_panoptic(source, panoptic)
    if source.classes.names != preprocessing.classes:
        raise DataError(
            f"{source.name}: its {len(source.classes)} classes are not the model's "
            f"{len(preprocessing.classes)} ({', '.join(preprocessing.classes[:5])}, ...); pass "
            "scenes with the same classes"
        )
    return _evaluation_loader(source, preprocessing, batch_size, config, panoptic, rank, world_size)


def check_panoptic(source: SceneSource, panoptic: bool) -> None:
    """Refuses to tell objects apart where the masks do not."""
    if panoptic and not source.panoptic:
        raise DataError(
            f"{source.name}: its masks do not tell objects apart; pass task=semantic, or another "
            "scenes.format such as coco_panoptic"
        )


def _evaluation_loader(
    source: SceneSource,
    preprocessing: ScenePreprocessing,
    batch_size: int,
    config: SceneConfig,
    panoptic: bool,
    rank: int,
    world_size: int,
) -> EvaluationBatches:
    return BatchLoader(
        EvaluationScenes(source, preprocessing, not panoptic),
        EvaluationSampler(len(source), rank, world_size),
        batch_size,
        workers=_workers(config),
        on_corrupt=config.on_corrupt,
    )


def _workers(config: SceneConfig) -> int:
    if config.workers is not None:
        return config.workers
    if config.format == "digit_scenes":
        return 0
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(4, processors)
