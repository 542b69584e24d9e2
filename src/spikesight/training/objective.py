"""What a run minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.distillation import Distillation
from spikesight.training.firing_price import FiringPrice


class Objective(ABC):
    """The loss of a task, the teacher's part and the price of firing, in one loss.

    Hooks read the model's neurons in training mode until `close`; copy the model before.

    Attributes:
        terms: The parts of the last loss that have a name, without gradients.

    Args:
        config: The run.
        model: The model that learns, on its device.
    """

    def __init__(self, config: TrainConfig, model: SpikingModel) -> None:
        self.terms: dict[str, Tensor] = {}
        self._price = FiringPrice(config.firing_rate, model) if config.firing_rate.weight else None
        self._distillation: Distillation | None = None

    def learn_from(self, distillation: Distillation) -> None:
        """Adds from now on what a teacher says, whose hooks `close` takes off too."""
        self._distillation = distillation

    @abstractmethod
    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The loss without a teacher and the price of firing, a scalar."""

    def __call__(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The loss of the model's last forward pass.

        Args:
            images: What the model has just seen.
            output: What it said.
            targets: What it should have said.

        Returns:
            A scalar.
        """
        loss = self.task_loss(images, output, targets)
        if self._distillation is not None:
            loss = self._distillation(images, output, loss)
        if self._price is not None:
            loss = loss + self._price((images.shape[-2], images.shape[-1]))
        return loss

    def firing(self) -> dict[str, float]:
        """What was paid for in the last forward pass, by name; empty without a price."""
        return {} if self._price is None else self._price.figures()

    def forget(self) -> None:
        """Forgets a forward pass that was not for learning."""
        if self._distillation is not None:
            self._distillation.forget()
        if self._price is not None:
            self._price.forget()

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._distillation is not None:
            self._distillation.close()
        if self._price is not None:
            self._price.close()
