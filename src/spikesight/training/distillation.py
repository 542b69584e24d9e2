"""The student's side of distillation: its attention, and what the teacher adds to the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikesight.attention import SpikingAttentionRecorder
from spikesight.losses import (
    DistillationConfig,
    attention_similarity_loss,
    class_logits,
    hard_label_loss,
    soft_label_loss,
)
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.teachers import Preparation, Teacher, attending_part, build_teacher


class Distillation:
    """Adds what a teacher says to the loss of a student.

    The attention that is learned is that of the student's trunk, where it has one.

    Args:
        config: What is learned.
        student: The model that learns; hooks read its attention in training mode until `close`.
        teacher: The model that knows, on the same device.

    Raises:
        ValueError: If attention shall be learned by a student that has none.
    """

    def __init__(self, config: DistillationConfig, student: SpikingModel, teacher: Teacher) -> None:
        self._config = config
        self._teacher = teacher
        self._recorder = (
            SpikingAttentionRecorder(attending_part(student), student.steps, only_in_training=True)
            if config.attention
            else None
        )

    def __call__(self, images: Tensor, output: Any, loss: Tensor) -> Tensor:
        """The loss with the teacher's part (QSD eq. 14).

        (1 - share) * loss + share * loss of the logits + weight * loss of the attention.

        Args:
            images: What the student has just seen, augmented and mixed.
            output: What it said: logits [B, K] or classified pixels or masks where those are
                learned.
            loss: Its loss by the labels, a scalar.

        Returns:
            A scalar.
        """
        config = self._config
        taught = self._teacher(images)
        if config.logits != "none":
            own = class_logits(output)
            other = _finite(class_logits(taught.logits), own)
            learned = (
                soft_label_loss(own, other, config.temperature)
                if config.logits == "soft"
                else hard_label_loss(own, other)
            )
            loss = (1 - config.logits_share) * loss + config.logits_share * learned
        if self._recorder is not None:
            similarity = attention_similarity_loss(self._recorder.take(), taught.attention)
            loss = loss + config.attention_weight * similarity
        return loss

    def forget(self) -> None:
        """Forgets a forward pass that was not for learning."""
        if self._recorder is not None:
            self._recorder.take()

    def close(self) -> None:
        """Takes the hooks off both models."""
        self._teacher.close()
        if self._recorder is not None:
            self._recorder.close()


def _finite(taught: Tensor, own: Tensor) -> Tensor:
    """What the teacher said, and where that is infinite (a ReLU's may be) what the student did."""
    if taught.shape != own.shape:
        return taught
    return torch.where(taught.isfinite().all(1, keepdim=True), taught, own.detach())


def build_distillation(
    config: TrainConfig, student: SpikingModel, preprocessing: Preparation, device: torch.device
) -> Distillation | None:
    """What a run learns from its teacher.

    Args:
        config: The run.
        student: The model that learns, on its device.
        preprocessing: What makes its input.
        device: Where it is.

    Returns:
        None if the run has no teacher.

    Raises:
        FileNotFoundError: If there is no such teacher.
        ValueError: If the teacher does not fit what shall be learned.
    """
    outputs = student.recipe["arguments"]["num_classes"]
    teacher = build_teacher(config.distillation, preprocessing, outputs, config.task)
    if teacher is None:
        return None
    if config.channels_last:
        teacher.model.to(memory_format=torch.channels_last)
    return Distillation(config.distillation, student, teacher.to(device))
