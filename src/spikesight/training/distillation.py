"""The student's side of distillation: its attention, and what the teacher adds to the loss."""

from __future__ import annotations

from torch import Tensor

from spikesight.attention import SpikingAttentionRecorder
from spikesight.losses import (
    DistillationConfig,
    attention_similarity_loss,
    hard_label_loss,
    soft_label_loss,
)
from spikesight.models import SpikingModel
from spikesight.training.teachers import Teacher


class Distillation:
    """Adds what a teacher says to the loss of a student.

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
            SpikingAttentionRecorder(student, student.steps, only_in_training=True)
            if config.attention
            else None
        )

    def __call__(self, images: Tensor, logits: Tensor, classification: Tensor) -> Tensor:
        """The loss with the teacher's part (QSD eq. 14).

        (1 - share) * classification + share * loss of the logits + weight * loss of the attention.

        Args:
            images: What the student has just seen, augmented and mixed.
            logits: What it said [B, K].
            classification: Its loss by the labels, a scalar.

        Returns:
            A scalar.
        """
        config = self._config
        taught = self._teacher(images)
        loss = classification
        if config.logits != "none":
            learned = (
                soft_label_loss(logits, taught.logits, config.temperature)
                if config.logits == "soft"
                else hard_label_loss(logits, taught.logits)
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
