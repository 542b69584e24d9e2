"""Objects found by boxes, with classes and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data.config import Split
from spikesight.data.detection import (
    AnyObjectPreprocessing,
    ObjectEvaluationBatches,
    ObjectLoaders,
    build_object_evaluation_loader,
    build_object_loaders,
    fields_of_objects,
    object_part_of,
    object_preprocessing_kind,
    read_objects,
)
from spikesight.data.detection.loaders import ObjectImages
from spikesight.data.prediction import read_enough
from spikesight.errors import UserError
from spikesight.inference import DetectionConfig, decode_detections
from spikesight.models import SpikingModel
from spikesight.objects import Detections, Objects
from spikesight.training.config import TrainConfig
from spikesight.training.runs.card import Card
from spikesight.training.tasks.base import Prepared, Task
from spikesight.training.tasks.detection.choices import choose_for_objects, holds_objects
from spikesight.training.tasks.detection.description import describe_detector
from spikesight.training.tasks.detection.evaluation import (
    DetectionFigures,
    compare_precisions,
    evaluate_detections,
)
from spikesight.training.tasks.detection.finder import Finder
from spikesight.training.tasks.detection.findings import DetectorFindings
from spikesight.training.tasks.detection.objective import (
    NO_DETECTOR,
    DetectionObjective,
    build_detection_loss,
    check_detection,
)
from spikesight.training.tasks.detection.pictures import draw_detector
from spikesight.training.tasks.detection.pipeline import DetectorPipeline
from spikesight.training.tasks.detection.prediction import show_boxes
from spikesight.training.tasks.next_steps import steps_of_a_network

_IMAGES = 16  # per batch of inputs for statistics


class ObjectTask(Task):
    """What detectors of any kind share: photos with objects, and what is made of boxes.

    Attributes:
        masks: Whether objects have masks, which are learned and found too.
    """

    section = "objects"
    batch_size = 8
    view_kind = DetectionConfig
    data_option = "--data.format=coco (or voc, yolo) and --data.path=…"
    sampling: ClassVar[Mapping[str, Any]] = {"workers": 0}
    masks: ClassVar[bool]
    predict = staticmethod(show_boxes)
    draw = staticmethod(draw_detector)
    loaders: ObjectLoaders

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self.loaders = build_object_loaders(
            config.objects,
            batch_size=config.batch_size,
            seed=config.seed,
            masks=self.masks,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            accumulation=config.accumulation,
        )

    @classmethod
    def find(cls, model: nn.Module, images: Tensor, config: DetectionConfig) -> list[Detections]:
        """What is kept of what a model finds.

        Args:
            model: In evaluation mode.
            images: Its input.
            config: What is kept.

        Returns:
            Of each image, in pixels of the input.
        """
        raise NotImplementedError

    @classmethod
    def check_classes(cls, wanted: int, classes: int) -> None:
        """An object of a class that the data lack could only be wrong."""
        super().check_classes(wanted, classes)
        if wanted != classes:
            raise UserError(
                f"model.num_classes is {wanted} but the objects have {classes} classes, and an "
                "object of another class could only be wrong; leave model.num_classes out"
            )

    @classmethod
    def input_channels(cls, config: TrainConfig) -> int:
        """Colours, or the two polarities of events."""
        return 2 if config.objects.holds_events else 3

    @classmethod
    def input_side(cls, config: TrainConfig) -> tuple[str, tuple[int, int]]:
        """objects.image_size."""
        return "objects.image_size", config.objects.image_size

    @property
    def notes(self) -> list[str]:
        """How many objects there are, and what was left out."""
        notes = []
        for images in (self.loaders.train.dataset, self.loaders.validation.dataset):
            assert isinstance(images, ObjectImages)
            notes.append(f"{images.source.name}: {images.source.notes}")
        return notes

    @property
    def view(self) -> DetectionConfig:
        """What is kept in validation."""
        return self.config.detection.view

    def prepare(
        self, images: Tensor, labels: Sequence[Objects], epoch: int, batch: int
    ) -> Prepared:
        """Normalised images [B, C, H, W] and B images' objects."""
        device = self.accelerator.device
        transform = self.loaders.preprocessing.batch_transform
        shown = transform(images.to(device, non_blocking=True))
        targets = [objects.to(device) for objects in labels]
        return Prepared(shown, targets, len(targets))

    def findings(self) -> DetectorFindings:
        """The worst photos."""
        return DetectorFindings(self.loaders.preprocessing, self.view.shown_score)

    @classmethod
    def next_steps(cls, run: Path) -> list[tuple[str, str]]:
        """All that a detector can do."""
        return [*super().next_steps(run), *steps_of_a_network(run)]

    @classmethod
    def preprocessing_kind(cls, fields: dict[str, Any]) -> type:
        """That of photos or of events."""
        kind = object_preprocessing_kind(fields)
        fields.pop("kind", None)
        return kind

    @classmethod
    def names_fit(cls, names: int, outputs: int) -> bool:
        """Each output has a name."""
        return names == outputs

    @classmethod
    def pipeline(
        cls, model: nn.Module, card: Card, labels: Sequence[str] | None, device: torch.device
    ) -> DetectorPipeline:
        """Boxes with labels and scores."""
        steps: AnyObjectPreprocessing = card.preprocessing
        if labels is not None:
            if len(labels) != len(steps.classes):
                raise UserError(
                    f"labels has {len(labels)} names and the detector {len(steps.classes)} "
                    "classes; pass one name per class"
                )
            steps = replace(steps, table=replace(steps.table, names=tuple(labels)))
        config = card.view or DetectionConfig()
        return DetectorPipeline(Finder(model, steps, config, cls.find, device))

    @classmethod
    def fields_of_data(cls, card: Card) -> dict[str, Any]:
        """The size of the images, and how events become frames."""
        return fields_of_objects(card.preprocessing)

    @classmethod
    def prepared_for(cls, card: Card) -> Card:
        """Photos are shown in the size that the data's configuration says."""
        size = card.data.image_size
        return replace(card, preprocessing=replace(card.preprocessing, image_size=size))

    @classmethod
    def evaluation_batches(
        cls, card: Card, batch_size: int, split: Split, rank: int = 0, world_size: int = 1
    ) -> ObjectEvaluationBatches:
        """Fitted images, and what is in the photos."""
        return build_object_evaluation_loader(
            card.data, batch_size, card.preprocessing, cls.masks, split, rank, world_size
        )

    @classmethod
    def evaluation_inputs(cls, card: Card, count: int, split: Split) -> Tensor:
        """Fitted images [N, C, H, W]."""
        source = read_objects(card.data, object_part_of(split))
        images = read_enough(
            lambda position: card.preprocessing.fit(source.read(position, False).image)[0],
            source.describe,
            len(source),
            count,
            card.data.on_corrupt,
            source.name,
        )
        inputs: Tensor = card.preprocessing.batch_transform(images)
        return inputs

    @classmethod
    def training_inputs(cls, card: Card, count: int, batch_size: int) -> Iterable[Tensor]:
        """Augmented images."""
        size = min(_IMAGES, batch_size, count)
        loaders = build_object_loaders(card.data, size, 0, cls.masks)
        transform = loaders.preprocessing.batch_transform
        return (transform(images) for images, _ in loaders.train)

    @classmethod
    def compare(
        cls, card: Card, split: Split, networks: Mapping[str, Callable[[Tensor], Any]]
    ) -> str:
        """Average precision of each."""
        return compare_precisions(card, split, networks)


class DetectionTask(ObjectTask):
    """Dense detectors: boxes at every pixel of several maps."""

    name = "detection"
    called = "a detector"
    figures = DetectionFigures
    masks = False
    measure = staticmethod(evaluate_detections)
    choose = staticmethod(choose_for_objects)
    reads = staticmethod(holds_objects)
    describe = staticmethod(describe_detector)

    @classmethod
    def find(cls, model: nn.Module, images: Tensor, config: DetectionConfig) -> list[Detections]:
        """Of all levels, without boxes that another covers."""
        size = (images.shape[-2], images.shape[-1])
        return decode_detections(check_detection(model(images)), size, config)

    @classmethod
    def check_feasible(cls, config: TrainConfig, model: SpikingModel, classes: int) -> None:
        """Refuses other models, and losses that cannot be."""
        if not cls.suits(model):
            raise UserError(f"model.name is {config.model.name}: {NO_DETECTOR}")
        build_detection_loss(config, classes)

    def objective(self, model: SpikingModel, device: torch.device) -> DetectionObjective:
        """Classes and boxes of assigned pixels, and the price of firing."""
        classes = model.recipe["arguments"]["num_classes"]
        return DetectionObjective(self.config, model, classes, device)

    @classmethod
    def suits(cls, model: SpikingModel) -> bool:
        """Whether it gives boxes at every pixel."""
        return model.gives == "boxes"
