"""Segments: a class for every pixel, or objects told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data.config import Split
from spikesight.data.prediction import read_enough
from spikesight.data.segmentation import (
    EvaluationBatches,
    SceneLoaders,
    ScenePreprocessing,
    Truth,
    Truths,
    build_scene_evaluation_loader,
    build_scene_loaders,
    part_of,
    read_scenes,
    sample_crop,
)
from spikesight.errors import UserError
from spikesight.inference import ViewConfig
from spikesight.losses.segments import Segments
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.runs.card import Card
from spikesight.training.tasks.base import Prepared, Task
from spikesight.training.tasks.next_steps import steps_of_a_network
from spikesight.training.tasks.segmentation.choices import choose_for_masks, holds_masks
from spikesight.training.tasks.segmentation.description import describe_segmenter
from spikesight.training.tasks.segmentation.evaluation import (
    NO_SEGMENTER,
    PanopticFigures,
    SemanticFigures,
    build_view,
    evaluate_panoptic,
    evaluate_semantic,
)
from spikesight.training.tasks.segmentation.findings import SegmenterFindings
from spikesight.training.tasks.segmentation.objective import (
    SegmentationObjective,
    build_segmentation_loss,
)
from spikesight.training.tasks.segmentation.pictures import draw_segmenter
from spikesight.training.tasks.segmentation.pipeline import SegmenterPipeline
from spikesight.training.tasks.segmentation.prediction import Segmenter, show_segments

_CROPS = 16  # per batch


class SegmentationTask(Task):
    """Augmented scenes and the matched loss.

    Attributes:
        panoptic: Whether objects are told apart.
    """

    called = "a segmenter"
    section = "scenes"
    batch_size = 8
    view_kind = ViewConfig
    data_option = "--data.format=… and --data.path=FOLDER"
    classifies = True
    sampling: ClassVar[Mapping[str, Any]] = {"workers": 0}
    panoptic: ClassVar[bool]
    choose = staticmethod(choose_for_masks)
    describe = staticmethod(describe_segmenter)
    predict = staticmethod(show_segments)
    draw = staticmethod(draw_segmenter)
    loaders: SceneLoaders

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self._told = False
        self.loaders = build_scene_loaders(
            config.scenes,
            batch_size=config.batch_size,
            seed=config.seed,
            panoptic=self.panoptic,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            accumulation=config.accumulation,
        )

    @classmethod
    def check_feasible(cls, config: TrainConfig, model: SpikingModel, classes: int) -> None:
        """Refuses classifiers, and losses that cannot be."""
        if not cls.suits(model):
            raise UserError(f"model.name is {config.model.name}: {NO_SEGMENTER}")
        if config.compile == "model" and getattr(model, "told_segments", False):
            raise UserError(
                "compile is model, but model.arguments.denoised_queries makes queries of what is "
                "in each photo; pass compile=none, or leave denoised_queries out"
            )
        build_segmentation_loss(config, model, classes, cls.panoptic)

    @classmethod
    def check_classes(cls, wanted: int, classes: int) -> None:
        """A pixel of a class that the data lack could only be wrong."""
        super().check_classes(wanted, classes)
        if wanted != classes:
            raise UserError(
                f"model.num_classes is {wanted} but the scenes have {classes} classes, and a pixel "
                "of another class could only be wrong; leave model.num_classes out"
            )

    @classmethod
    def input_side(cls, config: TrainConfig) -> tuple[str, tuple[int, int]]:
        """scenes.crop_size."""
        return "scenes.crop_size", config.scenes.crop_size

    @property
    def view(self) -> ViewConfig:
        """How photos are shown in validation."""
        return self.config.segmentation.view

    def objective(self, model: SpikingModel, device: torch.device) -> SegmentationObjective:
        """Matched classes and masks, and the price of firing."""
        self._told = getattr(model, "told_segments", False)
        outputs = model.recipe["arguments"]["num_classes"]
        return SegmentationObjective(self.config, model, outputs, self.panoptic, device)

    def prepare(self, images: Tensor, labels: Truths, epoch: int, batch: int) -> Prepared:
        """Normalised crops [B, 3, H, W] and B images' segments, of which some models are told."""
        device = self.accelerator.device
        transform = self.loaders.preprocessing.batch_transform
        shown = transform(images.to(device, non_blocking=True))
        targets = [segments_of(truth).to(device) for truth in labels]
        return Prepared(shown, targets, len(targets), (targets,) if self._told else ())

    def findings(self) -> SegmenterFindings:
        """Confused classes and the worst photos."""
        return SegmenterFindings(self.loaders.preprocessing.table)

    @classmethod
    def next_steps(cls, run: Path) -> list[tuple[str, str]]:
        """All that a segmenter can do."""
        return [*super().next_steps(run), *steps_of_a_network(run)]

    @classmethod
    def preprocessing_kind(cls, fields: dict[str, Any]) -> type:
        """That of scenes."""
        return ScenePreprocessing

    @classmethod
    def names_fit(cls, names: int, outputs: int) -> bool:
        """Each output has a name."""
        return names == outputs

    @classmethod
    def pipeline(
        cls, model: nn.Module, card: Card, labels: Sequence[str] | None, device: torch.device
    ) -> SegmenterPipeline:
        """Segments with labels, masks and boxes."""
        steps: ScenePreprocessing = card.preprocessing
        if labels is not None:
            if len(labels) != len(steps.table):
                raise UserError(
                    f"labels has {len(labels)} names and the segmenter {len(steps.table)} "
                    "classes; pass one name per class"
                )
            steps = replace(steps, table=replace(steps.table, names=tuple(labels)))
        seen = build_view(model, steps, card.view or ViewConfig())
        return SegmenterPipeline(Segmenter(seen, steps, cls.panoptic, device))

    @classmethod
    def fields_of_data(cls, card: Card) -> dict[str, Any]:
        """The size of the crops."""
        return {"format": "folder", "crop_size": card.preprocessing.crop_size}

    @classmethod
    def prepared_for(cls, card: Card) -> Card:
        """Photos are shown in the size that the scenes say."""
        size = card.data.evaluation_size
        return replace(card, preprocessing=replace(card.preprocessing, evaluation_size=size))

    @classmethod
    def evaluation_batches(
        cls, card: Card, batch_size: int, split: Split, rank: int = 0, world_size: int = 1
    ) -> EvaluationBatches:
        """Photos of any size and their truths."""
        return build_scene_evaluation_loader(
            card.data, batch_size, card.preprocessing, cls.panoptic, split, rank, world_size
        )

    @classmethod
    def evaluation_inputs(cls, card: Card, count: int, split: Split) -> Tensor:
        """Photos [N, 3, H, W], resized and cut in the centre to the size of training crops."""
        source = read_scenes(card.data, part_of(split))
        size = card.preprocessing.crop_size
        crops = read_enough(
            lambda position: sample_crop(source.read(position).image, size),
            source.describe,
            len(source),
            count,
            card.data.on_corrupt,
            source.name,
        )
        inputs: Tensor = card.preprocessing.batch_transform(crops)
        return inputs

    @classmethod
    def training_inputs(cls, card: Card, count: int, batch_size: int) -> Iterable[Tensor]:
        """Augmented crops."""
        size = min(_CROPS, batch_size, count)
        loaders = build_scene_loaders(card.data, size, 0, cls.panoptic)
        transform = loaders.preprocessing.batch_transform
        return (transform(images) for images, _ in loaders.train)

    @classmethod
    def suits(cls, model: SpikingModel) -> bool:
        """Whether it gives every pixel a class, or segments."""
        return model.gives in ("pixels", "segments")


class SemanticTask(SegmentationTask):
    """Validation by mean intersection over union."""

    name = "semantic"
    figures = SemanticFigures
    panoptic = False
    measure = staticmethod(evaluate_semantic)
    reads = staticmethod(holds_masks)


class PanopticTask(SegmentationTask):
    """Validation by panoptic quality."""

    name = "panoptic"
    figures = PanopticFigures
    panoptic = True
    measure = staticmethod(evaluate_panoptic)


def segments_of(truth: Truth) -> Segments:
    """The segments that are there, without crowds, which nobody could learn."""
    present = [int(n) for n in truth.segment_map.unique() if n >= 0 and not truth.crowd[int(n)]]
    numbers = torch.tensor(present, dtype=torch.int64)
    masks = truth.segment_map[None] == numbers.view(-1, 1, 1)
    return Segments(truth.segment_classes[numbers], masks)
