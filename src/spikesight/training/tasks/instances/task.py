"""Objects found by boxes and masks, in two stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.data.config import Split
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.errors import UserError
from spikesight.inference import DetectionConfig
from spikesight.inference.regions import paste_masks
from spikesight.models import SpikingModel
from spikesight.objects import Detections, Objects
from spikesight.training.config import TrainConfig
from spikesight.training.runs.card import Card
from spikesight.training.runs.description import Description
from spikesight.training.tasks.base import Prepared
from spikesight.training.tasks.detection.description import describe_detector
from spikesight.training.tasks.detection.task import ObjectTask
from spikesight.training.tasks.instances.evaluation import InstanceFigures, evaluate_instances
from spikesight.training.tasks.instances.objective import (
    NO_INSTANCES,
    InstanceObjective,
    loss_weights,
)

_MAPS_ALONE = (
    "a deployed network of this task gives the maps that propose regions and those that host code "
    "cuts regions out of, no boxes; pass the run that it was made from"
)


class InstanceTask(ObjectTask):
    """Two-stage detectors, which are told in training what there is: they choose regions by it."""

    name = "instances"
    called = "a detector of instances"
    figures = InstanceFigures
    masks = True
    measure = staticmethod(evaluate_instances)

    @classmethod
    def find(cls, model: nn.Module, images: Tensor, config: DetectionConfig) -> list[Detections]:
        """Boxes that are kept, and their masks at the size of the input."""
        if isinstance(model, DeployedModel):
            raise UserError(_MAPS_ALONE)
        found = model(
            images,
            score_threshold=config.score_threshold,
            nms_iou=config.nms_iou,
            most=config.most,
        )
        size = (images.shape[-2], images.shape[-1])
        return [paste_masks(one, size) for one in found]

    @classmethod
    def check_feasible(cls, config: TrainConfig, model: SpikingModel, classes: int) -> None:
        """Refuses other models, and weights of losses that there are not."""
        if not cls.suits(model):
            raise UserError(f"model.name is {config.model.name}: {NO_INSTANCES}")
        loss_weights(config)

    def objective(self, model: SpikingModel, device: torch.device) -> InstanceObjective:
        """The losses of both stages, and the price of firing."""
        return InstanceObjective(self.config, model)

    def prepare(
        self, images: Tensor, labels: Sequence[Objects], epoch: int, batch: int
    ) -> Prepared:
        """Normalised images [B, C, H, W] and B images' objects, of which the model is told."""
        prepared = super().prepare(images, labels, epoch, batch)
        return replace(prepared, told=(prepared.targets,))

    @classmethod
    def compare(
        cls, card: Card, split: Split, networks: Mapping[str, Callable[[Tensor], Any]]
    ) -> str:
        """Nothing: a deployed network finds no instances by itself."""
        return ""

    @classmethod
    def suits(cls, model: SpikingModel) -> bool:
        """Whether it gives boxes with masks."""
        return model.gives == "instances"

    @classmethod
    def describe(cls, said: Description, card: Card | None, arguments: dict[str, Any]) -> Card:
        """As of other detectors."""
        return replace(describe_detector(said, card, arguments), task=cls.name)
