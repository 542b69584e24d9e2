"""What a classifier minimises."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from spikesight.losses import build_classification_loss
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective
from spikesight.training.tasks.classification.evaluation import check_logits


class ClassificationObjective(Objective):
    """Classification, the teacher's part and the price of firing.

    Args:
        config: The run.
        model: The model that learns, on its device.
    """

    def __init__(self, config: TrainConfig, model: SpikingModel) -> None:
        self._hard = build_classification_loss(config.label_smoothing, soft_targets=False)
        self._soft = build_classification_loss(config.label_smoothing, soft_targets=True)
        super().__init__(config, model)

    def task_loss(self, images: Tensor, output: Any, targets: Tensor) -> Tensor:
        """The loss by the labels.

        Args:
            images: What the model has just seen.
            output: Logits [B, K].
            targets: Class numbers [B], or probabilities [B, K] where images are mixed.
        """
        check_logits(output)
        loss: Tensor = (self._hard if targets.ndim == 1 else self._soft)(output, targets)
        return loss
