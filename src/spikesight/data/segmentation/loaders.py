"""From a description of a segmentation data set to the loaders of a training or an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from spikesight.data.batches import Batch, BatchLoader, Draw, read_each, usual_workers
from spikesight.data.errors import DataError
from spikesight.data.sampling import EpochSampler, EvaluationSampler, filled_batch_size
from spikesight.data.segmentation.augmentation import SceneAugmentation
from spikesight.data.segmentation.config import SceneConfig
from spikesight.data.segmentation.preprocessing import ScenePreprocessing
from spikesight.data.segmentation.scene import SceneSource, Truth
from spikesight.data.segmentation.sources import part_of, read_scenes

Truths = tuple[Truth, ...]
TrainingBatches = BatchLoader[Tensor, Truths]
EvaluationBatches = BatchLoader[tuple[Tensor, ...], Truths]


@dataclass(eq=False)
class Scenes(Dataset[Batch[Any, Truths]]):
    """Scenes a batch at a time: augmented ones of one size, or as they are evaluated.

    Attributes:
        source: The scenes.
        prepare: Augments, so that images are uint8 [B, 3, H, W]; or says how large a photo is
            shown, so that they are B images of any size and truths keep their own.
        semantic: Whether the objects of a class are one segment.
    """

    source: SceneSource
    prepare: SceneAugmentation | ScenePreprocessing
    semantic: bool

    def __len__(self) -> int:
        return len(self.source)

    def _read(self, index: int, epoch: int) -> tuple[Tensor, Truth]:
        scene = self.source.read(index)
        if isinstance(self.prepare, SceneAugmentation):
            image, truth = self.prepare(scene, epoch, index)
        else:
            image, truth = self.prepare.fit(scene.image), scene.truth
        return image, truth.semantic(len(self.source.classes)) if self.semantic else truth

    def __getitem__(self, draw: Draw) -> Batch[Any, Truths]:
        scenes, _, failures = read_each(draw, self._read, self.source.describe)
        images: Any = tuple(image for image, _ in scenes)
        if isinstance(self.prepare, SceneAugmentation):
            images = torch.stack(images) if images else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
        return Batch(images, tuple(truth for _, truth in scenes), failures)


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
            Scenes(train, augmentation, not panoptic),
            order,
            filled,
            seed,
            drop_last=True,
            workers=usual_workers(config.workers, config.format == "digit_scenes"),
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
        Scenes(source, preprocessing, not panoptic),
        EvaluationSampler(len(source), rank, world_size),
        batch_size,
        workers=usual_workers(config.workers, config.format == "digit_scenes"),
        on_corrupt=config.on_corrupt,
    )
