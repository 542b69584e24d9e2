"""Guessing hidden patches: pre-training without labels."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data import Preprocessing
from spikesight.data.config import Split
from spikesight.data.loaders import build_probe_loaders
from spikesight.errors import UserError
from spikesight.losses.reconstruction import (
    from_patches,
    patch_statistics,
    reconstruction_loss,
    to_patches,
)
from spikesight.models import MaskedAutoencoder, SpikingModel
from spikesight.models.masked_image import Reconstruction
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective
from spikesight.training.runs.card import Card
from spikesight.training.tasks.base import Prepared
from spikesight.training.tasks.images import ImageTask
from spikesight.training.tasks.masked_image.evaluation import (
    MaskedImageFigures,
    evaluate_masked_images,
    visible_patches,
)
from spikesight.training.tasks.masked_image.pictures import draw_reconstructions
from spikesight.training.tasks.masked_image.probe import Batches, probe_trunk

_PICTURES = 8


class MaskedImageObjective(Objective):
    """The error of what is guessed of hidden patches."""

    def __init__(self, config: TrainConfig, model: SpikingModel) -> None:
        super().__init__(config, model)
        self._target = config.masked_image.target

    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The mean error over the images.

        Args:
            images: What was to be guessed, [B, C, H, W].
            output: A `Reconstruction` of them.
            targets: Nothing.
        """
        assert isinstance(output, Reconstruction)
        side = images.shape[-1] // output.visible.shape[-1]
        loss = reconstruction_loss(output.patches, output.visible, images, side, self._target)
        return loss.mean()


class MaskedImageTask(ImageTask):
    """Augmented photos and the error at hidden patches."""

    name = "masked_image"
    called = "a pre-trained trunk, to be fine-tuned first (spikesight train ... --from RUN)"
    figures = MaskedImageFigures
    unlabelled = True
    rates_note = "Hidden positions count as silent here."
    measure = staticmethod(evaluate_masked_images)

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self._shown: Tensor | None = None
        self._probed: tuple[Batches, Batches] | None = None
        if config.linear_probe and self.classes < 2:
            raise UserError(
                f"linear_probe asks for classes and {config.data.path} has {self.classes}; pass "
                "photos in folders of their classes, or leave linear_probe out"
            )

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        """Hidden patches know no labels, and no events."""
        super().check(config)
        for name, used, remedy in (
            ("model.bits", config.model.bits is not None, "pre-train first, then quantise"),
            ("distillation.teacher", config.distillation.teacher is not None, "nothing is taught"),
            ("firing_rate.weight", config.firing_rate.weight > 0, "hidden patches never fire"),
            ("compile", config.compile != "none", "the masks change what is computed"),
            ("data.format or data.events", config.data.holds_events, "pass photos, not events"),
        ):
            if used:
                raise UserError(
                    f"{name} does not go with task=masked_image: {remedy}; leave {name} out"
                )

    @classmethod
    def complete(cls, config: TrainConfig, model: SpikingModel) -> MaskedAutoencoder:
        """The model's trunk with a decoder behind it."""
        return MaskedAutoencoder(model, config.masked_image)

    @classmethod
    def input_step(cls, model: SpikingModel) -> int:
        """The side of a patch."""
        assert isinstance(model, MaskedAutoencoder)
        return model.patch

    @classmethod
    def positions(cls, model: SpikingModel, size: tuple[int, int]) -> int:
        """Those of visible patches."""
        assert isinstance(model, MaskedAutoencoder)
        every, tokens = super().positions(model, size), (model.patch // model.stride) ** 2
        return every - model.sizes.hidden(every // tokens) * tokens

    @property
    def subject(self) -> str:
        """How much is hidden."""
        return f"{100 * self.config.masked_image.ratio:g} % of the patches hidden"

    def objective(self, model: SpikingModel, device: torch.device) -> MaskedImageObjective:
        """The error of the guessed pixels."""
        return MaskedImageObjective(self.config, model)

    def evaluate(self, model: nn.Module) -> MaskedImageFigures:
        """The error at hidden patches; with `linear_probe`, what the trunk knows of the classes."""
        figures = super().evaluate(model)
        assert isinstance(figures, MaskedImageFigures)
        if not self.config.linear_probe:
            return figures
        assert isinstance(model, MaskedAutoencoder)
        preprocessing = self.loaders.preprocessing
        assert isinstance(preprocessing, Preprocessing)
        if self._probed is None:
            size = self.config.batch_size
            self._probed = build_probe_loaders(self.loaders.config, size, preprocessing)
        probe = probe_trunk(model, *self._probed, preprocessing, self.accelerator.device)
        return replace(figures, probe=probe)

    def prepare(self, images: Tensor, labels: Tensor, epoch: int, batch: int) -> Prepared:
        """Augmented images [B, C, H, W]; they are their own targets."""
        return replace(super().prepare(images, labels, epoch, batch), targets=None)

    @classmethod
    def next_steps(cls, run: Path) -> list[tuple[str, str]]:
        """Its trunk goes into a finished model."""
        tuned = f"spikesight train RECIPE.yaml --from {shlex.quote(str(run))}"
        return [*super().next_steps(run), ("Fine-tune its trunk", tuned)]

    @classmethod
    def suits(cls, model: SpikingModel) -> bool:
        """Whether it guesses patches."""
        return isinstance(model, MaskedAutoencoder)

    @classmethod
    def evaluation_inputs(cls, card: Card, count: int, split: Split) -> Tensor:
        """None: a trunk has no outputs to compare or to count."""
        raise UserError(f"the model is {cls.called}; this works on finished models")

    @classmethod
    def training_inputs(cls, card: Card, count: int, batch_size: int) -> Iterable[Tensor]:
        """None, likewise."""
        raise UserError(f"the model is {cls.called}; this works on finished models")

    @torch.no_grad()
    def illustrate(self, model: nn.Module, epoch: int) -> Path | None:
        """Draws photos, what was visible of them and what was guessed.

        Returns:
            PNG in reconstructions/ of the run's folder; None where no pixels are guessed.
        """
        assert isinstance(model, MaskedAutoencoder)
        if model.sizes.target == "gradients":
            return None
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


def reconstruct(
    model: MaskedAutoencoder, images: Tensor, preprocessing: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Photos, their visible patches on grey, and these with the guesses in between.

    Where the model guesses normalised patches, each takes the mean and deviation of the true one.

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
    guessed = output.patches.float()
    if model.sizes.target == "pixels":
        guessed = guessed * deviation + mean
    seen = output.visible.flatten(1)[..., None]
    gain = inputs.new_tensor(preprocessing.std).view(-1, 1, 1)
    shift = inputs.new_tensor(preprocessing.mean).view(-1, 1, 1)
    whole, part, completed = (
        (from_patches(patches, model.patch, model.grid(images)) * gain + shift).clamp(0, 1)
        for patches in (true, torch.where(seen, true, 0.0), torch.where(seen, true, guessed))
    )
    return whole, part, completed
