"""What a classifier minimises."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.losses import build_classification_loss
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.distillation import Distillation
from spikesight.training.objective import Objective
from spikesight.training.tasks.classification.evaluation import check_logits
from spikesight.training.teachers import build_teacher


class ClassificationObjective(Objective):
    """Classification, the teacher's part and the price of firing.

    Hooks also read the model's attention where a teacher's is learned.

    Args:
        config: The run.
        model: The model that learns, on its device.
        preprocessing: What makes its input.
        device: Where it is.

    Raises:
        FileNotFoundError: If there is no such teacher.
        ValueError: If the teacher does not fit what shall be learned.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: SpikingModel,
        preprocessing: Preprocessing | EventPreprocessing,
        device: torch.device,
    ) -> None:
        self._hard = build_classification_loss(config.label_smoothing, soft_targets=False)
        self._soft = build_classification_loss(config.label_smoothing, soft_targets=True)
        outputs = model.recipe["arguments"]["num_classes"]
        teacher = build_teacher(config.distillation, preprocessing, outputs)
        self._distillation = (
            None
            if teacher is None
            else Distillation(config.distillation, model, teacher.to(device))
        )
        if teacher is not None and config.channels_last:
            teacher.model.to(memory_format=torch.channels_last)
        super().__init__(config, model)

    def task_loss(self, images: Tensor, output: Any, targets: Tensor) -> Tensor:
        """The loss by the labels and the teacher.

        Args:
            images: What the model has just seen.
            output: Logits [B, K].
            targets: Class numbers [B], or probabilities [B, K] where images are mixed.
        """
        check_logits(output)
        loss: Tensor = (self._hard if targets.ndim == 1 else self._soft)(output, targets)
        if self._distillation is not None:
            loss = self._distillation(images, output, loss)
        return loss

    def forget(self) -> None:
        """Forgets a forward pass that was not for learning."""
        if self._distillation is not None:
            self._distillation.forget()
        super().forget()

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._distillation is not None:
            self._distillation.close()
        super().close()
