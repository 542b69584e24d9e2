"""One class for an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spikesight.data.config import Split
from spikesight.errors import UserError
from spikesight.models import SpikingModel, StageFeatures
from spikesight.training.config import TrainConfig
from spikesight.training.runs.card import Card
from spikesight.training.tasks.base import Prepared
from spikesight.training.tasks.classification.choices import choose_for_classes
from spikesight.training.tasks.classification.evaluation import (
    NO_CLASSIFIER,
    Evaluation,
    compare_accuracies,
    evaluate,
)
from spikesight.training.tasks.classification.findings import ClassifierFindings
from spikesight.training.tasks.classification.objective import ClassificationObjective
from spikesight.training.tasks.classification.pipeline import ClassifierPipeline
from spikesight.training.tasks.classification.prediction import show_guesses
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.findings import Findings
from spikesight.training.tasks.images import ImageTask
from spikesight.training.tasks.next_steps import steps_of_a_network


class ClassificationTask(ImageTask):
    """Mixed and augmented batches, cross entropy, top-1."""

    name = "classification"
    called = "a classifier"
    classifies = True
    figures = Evaluation
    choose = staticmethod(choose_for_classes)
    predict = staticmethod(show_guesses)

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        outputs = config.model.num_classes or self.classes
        mix = config.mix
        self._mixup = mix.build(outputs, config.label_smoothing) if mix.active else None

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        """Pairs of images are mixed."""
        if config.mix.active and config.batch_size % 2:
            raise UserError(
                f"batch_size is {config.batch_size} but mixing pairs images; pass an even "
                "batch_size"
            )

    @classmethod
    def check_feasible(cls, config: TrainConfig, model: SpikingModel, classes: int) -> None:
        """Refuses segmenters."""
        if isinstance(getattr(model, "trunk", None), StageFeatures):
            raise UserError(f"model.name is {config.model.name}: {NO_CLASSIFIER}")

    @classmethod
    def reads(cls, path: str) -> bool:
        """Photos in whatever folders are those of classes."""
        return True

    def objective(self, model: SpikingModel, device: torch.device) -> ClassificationObjective:
        """Cross entropy, the teacher's part and the price of firing."""
        return ClassificationObjective(self.config, model)

    def prepare(self, images: Tensor, labels: Tensor, epoch: int, batch: int) -> Prepared:
        """Images [B, C, H, W] and class numbers [B], or probabilities [B, K] where mixed."""
        prepared, config = super().prepare(images, labels, epoch, batch), self.config
        images, targets = prepared.images, prepared.targets
        if self._mixup is not None and epoch < config.epochs - config.mix.off_epochs:
            if (
                prepared.count % 2
            ):  # images of this batch were skipped as corrupt; mixing needs pairs
                images, targets = _append_first(images), _append_first(targets)
            # Mixing knows images only, so the frames of a sequence become channels of one.
            mixed, targets = self._mixup(images.flatten(1, -3), targets)
            images = mixed.view_as(images)
        return Prepared(images, targets, prepared.count)

    def evaluate(self, model: nn.Module) -> Figures:
        """Measures in the memory format of training."""
        if not self.config.channels_last:
            return super().evaluate(model)
        hook = model.register_forward_pre_hook(_to_channels_last)
        try:
            return super().evaluate(model)
        finally:
            hook.remove()

    @classmethod
    def measure(
        cls,
        model: nn.Module,
        batches: Iterable[tuple[Tensor, Tensor]],
        card: Card,
        accelerator: Accelerator,
        limit_batches: int | None = None,
        findings: Findings | None = None,
    ) -> Evaluation:
        """Top-1, top-5 and loss."""
        transform = card.preprocessing.batch_transform
        return evaluate(
            model, batches, transform, accelerator, limit_batches=limit_batches, findings=findings
        )

    def findings(self) -> ClassifierFindings:
        """What is taken for what."""
        return ClassifierFindings(self.loaders.classes)

    @classmethod
    def next_steps(cls, run: Path) -> list[tuple[str, str]]:
        """All that a classifier can do."""
        return [*super().next_steps(run), *steps_of_a_network(run)]

    @classmethod
    def pipeline(
        cls, model: nn.Module, card: Card, labels: Sequence[str] | None, device: torch.device
    ) -> ClassifierPipeline:
        """Labels with scores."""
        steps = card.preprocessing
        if labels is not None:
            steps = replace(steps, classes=tuple(labels))
        return ClassifierPipeline(model, steps, device)

    @classmethod
    def compare(
        cls, card: Card, split: Split, networks: Mapping[str, Callable[[Tensor], Tensor]]
    ) -> str:
        """Top-1 of each."""
        batches = cls.evaluation_batches(card, cls.batch_size, split)
        transform = card.preprocessing.batch_transform
        seen, accuracies = compare_accuracies(networks, batches, transform)
        shown = ", ".join(f"{name} {value:.2f} %" for name, value in accuracies.items())
        return f"top-1 on {seen:,} {split} images: {shown}"

    @classmethod
    def suits(cls, model: SpikingModel) -> bool:
        """Whatever is for no other task."""
        return True


def _to_channels_last(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(
        x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs
    )


def _append_first(batch: Tensor) -> Tensor:
    return torch.cat([batch, batch[:1]])
