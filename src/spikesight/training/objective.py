"""What a run minimises."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.losses import FiringRates, build_classification_loss, firing_rate_penalty
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.distillation import Distillation
from spikesight.training.teachers import build_teacher


class Objective:
    """Classification, the teacher's part and the price of firing, in one loss.

    Hooks read the model's neurons and attention in training mode until `close`; copy the model
    before.

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
        self._firing_rate = config.firing_rate
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
        self._rates = (
            FiringRates(model, only_in_training=True) if config.firing_rate.weight else None
        )

    def __call__(self, images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of the model's last forward pass.

        Args:
            images: What the model has just seen.
            logits: What it said [B, K].
            targets: Class numbers [B], or probabilities [B, K] where images are mixed.

        Returns:
            A scalar.
        """
        loss: Tensor = (self._hard if targets.ndim == 1 else self._soft)(logits, targets)
        if self._distillation is not None:
            loss = self._distillation(images, logits, loss)
        if self._rates is not None:
            loss = loss + firing_rate_penalty(self._rates.take(), self._firing_rate)
        return loss

    def forget(self) -> None:
        """Forgets a forward pass that was not for learning."""
        if self._distillation is not None:
            self._distillation.forget()
        if self._rates is not None:
            self._rates.take()

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._distillation is not None:
            self._distillation.close()
        if self._rates is not None:
            self._rates.close()
