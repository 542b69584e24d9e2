"""Guessing hidden patches: pre-training without labels."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data import Preprocessing
from spikesight.losses.reconstruction import from_patches, patch_statistics, to_patches
from spikesight.models import MaskedAutoencoder, SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import MaskedImageObjective
from spikesight.training.runs.checkpoint import Card
from spikesight.training.tasks.base import Prepared
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.images import ImageTask
from spikesight.training.tasks.masked_image.evaluation import (
    MaskedImageFigures,
    evaluate_masked_images,
    visible_patches,
)
from spikesight.training.tasks.masked_image.pictures import draw_reconstructions

_PICTURES = 8


class MaskedImageTask(ImageTask):
    """Augmented photos and the error at hidden patches."""

    figures = MaskedImageFigures

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self._shown: Tensor | None = None

    @property
    def subject(self) -> str:
        """How much is hidden."""
        return f"{100 * self.config.masked_image.ratio:g} % of the patches hidden"

    def objective(self, model: SpikingModel, device: torch.device) -> MaskedImageObjective:
        """The error of the guessed pixels."""
        return MaskedImageObjective(self.config, model)

    def prepare(self, images: Tensor, labels: Tensor, epoch: int, batch: int) -> Prepared:
        """Augmented images [B, C, H, W]; they are their own targets."""
        images = images.to(self.accelerator.device, non_blocking=True)
        generator = self.loaders.train.generator(batch)
        images = self.loaders.batch_transform_train(images, generator)
        return Prepared(images, None, len(images))

    def evaluate(self, model: nn.Module) -> MaskedImageFigures:
        """The error at hidden patches."""
        return evaluate_masked_images(
            model,
            self.loaders.validation,
            self.loaders.batch_transform_eval,
            self.accelerator,
            limit_batches=self.config.limit_batches,
        )

    @torch.no_grad()
    def illustrate(self, model: nn.Module, epoch: int) -> Path:
        """Draws photos, what was visible of them and what was guessed.

        Args:
            model: A `MaskedAutoencoder`.
            epoch: Number of epochs it was trained for.

        Returns:
            PNG in reconstructions/ of the run's folder.
        """
        assert isinstance(model, MaskedAutoencoder)
        if self._shown is None:
            images, _ = next(iter(self.loaders.validation))
            self._shown = images[:_PICTURES]
        folder = Path(self.config.output) / "reconstructions"
        folder.mkdir(parents=True, exist_ok=True)
        images = self._shown.to(self.accelerator.device)
        was_training = model.training
        rows = reconstruct(model.eval(), images, self.loaders.preprocessing)
        model.train(was_training)
        path = folder / f"epoch_{epoch:04d}.png"
        draw_reconstructions(*rows, path)
        return path

    def card(self, epoch: int, weights: str, figures: Figures | None) -> Card:
        """The data and preprocessing of a pre-trained trunk."""
        loaders = self.loaders
        return Card(
            loaders.config,
            loaders.preprocessing,
            epoch,
            weights,
            figures,
            task="masked_image",
            precision=self.precision,
        )


def reconstruct(
    model: MaskedAutoencoder, images: Tensor, preprocessing: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Photos, their visible patches on grey, and these with the guesses in between.

    The model guesses normalised patches; each takes the mean and deviation of the true one.

    Args:
        model: In evaluation mode.
        images: uint8 [B, C, H, W].
        preprocessing: What makes its input.

    Returns:
        Three times [B, C, H, W] in 0..1.
    """
    assert isinstance(preprocessing, Preprocessing)
    inputs = preprocessing.batch_transform(images, None)
    output = model(inputs, visible_patches(model, images))
    true = to_patches(inputs, model.patch)
    mean, deviation = patch_statistics(true)
    guessed = output.patches.float() * deviation + mean
    seen = output.visible.flatten(1)[..., None]
    gain = inputs.new_tensor(preprocessing.std).view(-1, 1, 1)
    shift = inputs.new_tensor(preprocessing.mean).view(-1, 1, 1)
    whole, part, completed = (
        (from_patches(patches, model.patch, model.grid(images)) * gain + shift).clamp(0, 1)
        for patches in (true, torch.where(seen, true, 0.0), torch.where(seen, true, guessed))
    )
    return whole, part, completed
