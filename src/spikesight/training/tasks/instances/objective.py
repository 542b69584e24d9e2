"""What a detector of instances minimises."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.models.mask_rcnn.regions import LOSSES
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective

NO_INSTANCES = (
    "the model does not return boxes with masks; pass the task that it is for, or a model.name "
    "such as mask_rcnn_nano"
)


class InstanceObjective(Objective):
    """The losses that the model returned in training, and the price of firing.

    Args:
        config: The run.
        model: The model that learns, on its device.

    Raises:
        UserError: If detection.loss names another loss.
    """

    def __init__(self, config: TrainConfig, model: SpikingModel) -> None:
        super().__init__(config, model)
        self._weights = loss_weights(config)

    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The weighted sum.

        Args:
            images: What the model has just seen.
            output: Losses by name.
            targets: Not needed: the model was told them.
        """
        if not isinstance(output, dict):
            raise UserError(NO_INSTANCES)
        self.terms = {name: term.detach() for name, term in output.items()}
        weighted = [self._weights[name] * term for name, term in output.items()]
        return torch.stack(weighted).sum()


def loss_weights(config: TrainConfig) -> dict[str, float]:
    """The weight of each loss, 1 where detection.loss does not say another.

    Raises:
        UserError: If it names another loss, or a weight is no number from 0 up.
    """
    weights = dict.fromkeys(LOSSES, 1.0)
    for name, weight in config.detection.loss.items():
        if name not in weights:
            raise UserError(f"detection.loss has {name!r}; weights are of {', '.join(weights)}")
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 <= weight < float("inf"):
            raise UserError(f"detection.loss.{name} is {weight!r}; pass a number from 0 up")
        weights[name] = float(weight)
    return weights
