"""What the training loop asks of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data import BatchLoader
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective
from spikesight.training.runs.folder import CardLike
from spikesight.training.tasks.figures import Figures


@dataclass(frozen=True)
class Prepared:
    """A training batch on the device.

    Attributes:
        images: The model's input.
        targets: What it should say.
        count: Number of images that were read for it.
    """

    images: Tensor
    targets: Any
    count: int


class Task(ABC):
    """Batches, loss, validation figures and description of a run.

    Attributes:
        figures: The kind of its validation figures, which know what better means.
        loaders: Loaders of this process, with `train` and `preprocessing`.

    Args:
        config: The run.
        accelerator: Device, precision and processes.
    """

    figures: ClassVar[type[Figures]]
    loaders: Any

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator

    @property
    def train(self) -> BatchLoader[Any, Any]:
        """The training batches of this process."""
        loader: BatchLoader[Any, Any] = self.loaders.train
        return loader

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.loaders.classes)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        channels: int = self.loaders.preprocessing.channels
        return channels

    @property
    def subject(self) -> str:
        """What is to be learned, in two words or so."""
        return f"{self.classes} classes"

    @property
    def precision(self) -> str:
        """The autocast type of the run: "no", "bf16" or "fp16"."""
        return str(self.accelerator.mixed_precision)

    def illustrate(self, model: nn.Module, epoch: int) -> Path | None:
        """Draws what a validated model makes of a few images, in one process.

        Args:
            model: The model.
            epoch: Number of epochs it was trained for.

        Returns:
            The picture in the run's folder; None where the task has none.
        """
        return None

    @abstractmethod
    def objective(self, model: SpikingModel, device: torch.device) -> Objective:
        """What a model minimises."""

    @abstractmethod
    def prepare(self, images: Any, labels: Any, epoch: int, batch: int) -> Prepared:
        """Brings a training batch to the device and augments it there.

        Args:
            images: As the loader gives them.
            labels: As the loader gives them.
            epoch: Number of the epoch.
            batch: Number of the batch in the epoch.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module) -> Figures:
        """Measures a model on the validation images."""

    @abstractmethod
    def card(self, epoch: int, weights: str, figures: Figures | None) -> CardLike:
        """What belongs to a trained model besides its weights.

        Args:
            epoch: Number of epochs it was trained for.
            weights: "model" or "ema".
            figures: Its validation figures, if it was validated.
        """
