"""What a detector minimises."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikesight.detection_outputs import DenseDetection
from spikesight.errors import UserError
from spikesight.losses import DetectionLoss
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective

NO_DETECTOR = (
    "the model is no detector: it does not return boxes; pass the task that it is for, or a "
    "model.name such as spike_det_nano"
)


class DetectionObjective(Objective):
    """Classes and boxes at the pixels that are assigned to objects, and the price of firing.

    Args:
        config: The run.
        model: The model that learns, on its device.
        classes: Classes K.
        device: Where the model is.

    Raises:
        UserError: If detection.loss has an unknown argument.
    """

    def __init__(
        self, config: TrainConfig, model: SpikingModel, classes: int, device: torch.device
    ) -> None:
        super().__init__(config, model)
        self._loss = build_detection_loss(config, classes).to(device)

    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The loss of all levels.

        Args:
            images: What the model has just seen.
            output: A `DenseDetection`.
            targets: B images' `Objects`.
        """
        size = (images.shape[-2], images.shape[-1])
        terms: dict[str, Tensor] = self._loss(check_detection(output), targets, size)
        self.terms = {name: term.detach() for name, term in terms.items() if name != "total"}
        return terms["total"]


def build_detection_loss(config: TrainConfig, classes: int) -> nn.Module:
    """What a dense detector minimises besides the price of firing.

    Raises:
        UserError: If detection.loss has an unknown argument.
    """
    try:
        return DetectionLoss(classes, **config.detection.loss)
    except TypeError as error:
        raise UserError(f"detection.loss: {error}; see DetectionLoss") from error


def check_detection(output: object) -> DenseDetection:
    """Refuses the output of a model that is no dense detector."""
    if not isinstance(output, DenseDetection):
        raise UserError(NO_DETECTOR)
    return output
