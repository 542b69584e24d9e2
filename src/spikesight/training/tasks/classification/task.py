"""One class for an image."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import ClassificationObjective
from spikesight.training.runs.checkpoint import Card
from spikesight.training.tasks.base import Prepared
from spikesight.training.tasks.classification.evaluation import Evaluation, evaluate
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.images import ImageTask


class ClassificationTask(ImageTask):
    """Mixed and augmented batches, cross entropy, top-1."""

    figures = Evaluation

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        outputs = config.model.num_classes or self.classes
        mix = config.mix
        self._mixup = mix.build(outputs, config.label_smoothing) if mix.active else None

    def objective(self, model: SpikingModel, device: torch.device) -> ClassificationObjective:
        """Cross entropy, the teacher's part and the price of firing."""
        return ClassificationObjective(self.config, model, self.loaders.preprocessing, device)

    def prepare(self, images: Tensor, labels: Tensor, epoch: int, batch: int) -> Prepared:
        """Images [B, C, H, W] and class numbers [B], or probabilities [B, K] where mixed."""
        device, config = self.accelerator.device, self.config
        generator = self.loaders.train.generator(batch)
        images = images.to(device, non_blocking=True)
        images = self.loaders.batch_transform_train(images, generator)
        targets = labels.to(device, non_blocking=True)
        count = len(targets)
        if self._mixup is not None and epoch < config.epochs - config.mix.off_epochs:
            if count % 2:  # images of this batch were skipped as corrupt; mixing needs pairs
                images, targets = _append_first(images), _append_first(targets)
            # Mixing knows images only, so the frames of a sequence become channels of one.
            mixed, targets = self._mixup(images.flatten(1, -3), targets)
            images = mixed.view_as(images)
        return Prepared(images, targets, count)

    def evaluate(self, model: nn.Module) -> Evaluation:
        """Top-1, top-5 and loss."""
        return evaluate(
            model,
            self.loaders.validation,
            self.loaders.batch_transform_eval,
            self.accelerator,
            channels_last=self.config.channels_last,
            limit_batches=self.config.limit_batches,
        )

    def card(self, epoch: int, weights: str, figures: Figures | None) -> Card:
        """The data and preprocessing of a classifier."""
        assert figures is None or isinstance(figures, Evaluation)
        loaders = self.loaders
        return Card(
            loaders.config,
            loaders.preprocessing,
            epoch,
            weights,
            figures,
            precision=self.precision,
        )


def _append_first(batch: Tensor) -> Tensor:
    return torch.cat([batch, batch[:1]])
