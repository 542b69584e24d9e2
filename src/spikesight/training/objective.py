"""What a run minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.errors import UserError
from spikesight.losses import FiringRates, build_classification_loss, firing_rate_penalty
from spikesight.losses.pixels import PixelLoss
from spikesight.losses.reconstruction import reconstruction_loss
from spikesight.losses.segmentation import SegmentationLoss
from spikesight.models import SpikingModel
from spikesight.models.masked_image import Reconstruction
from spikesight.models.spike2former import Spike2Former
from spikesight.models.spike_fpn import SpikeFPN
from spikesight.training.config import TrainConfig
from spikesight.training.distillation import Distillation
from spikesight.training.tasks.classification.evaluation import check_logits
from spikesight.training.tasks.segmentation.evaluation import check_segmentation
from spikesight.training.teachers import build_teacher


class Objective(ABC):
    """The loss of a task and the price of firing, in one loss.

    Hooks read the model's neurons in training mode until `close`; copy the model before.

    Attributes:
        terms: The parts of the last loss that have a name, without gradients.

    Args:
        config: The run.
        model: The model that learns, on its device.
    """

    def __init__(self, config: TrainConfig, model: SpikingModel) -> None:
        self.terms: dict[str, Tensor] = {}
        self._firing_rate = config.firing_rate
        self._rates = (
            FiringRates(model, only_in_training=True) if config.firing_rate.weight else None
        )

    @abstractmethod
    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The loss without the price of firing, a scalar."""

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
        if self._rates is not None:
            loss = loss + firing_rate_penalty(self._rates.take(), self._firing_rate)
        return loss

    def forget(self) -> None:
        """Forgets a forward pass that was not for learning."""
        if self._rates is not None:
            self._rates.take()

    def close(self) -> None:
        """Takes the hooks off the model."""
        if self._rates is not None:
            self._rates.close()


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


class MaskedImageObjective(Objective):
    """The error of the guessed pixels of hidden patches."""

    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The mean error over the images.

        Args:
            images: What was to be guessed, [B, C, H, W].
            output: A `Reconstruction` of them.
            targets: Nothing.
        """
        assert isinstance(output, Reconstruction)
        side = images.shape[-1] // output.visible.shape[-1]
        return reconstruction_loss(output.patches, output.visible, images, side).mean()


class SegmentationObjective(Objective):
    """Matched classes and masks, or classes of pixels, and the price of firing.

    Semantic runs learn by MaskFormer's set of terms, panoptic runs by Mask2Former's; a model that
    gives every pixel a class by their cross-entropy.

    Args:
        config: The run.
        model: The model that learns, on its device.
        classes: Classes K.
        device: Where the model is.

    Raises:
        ValueError: If segmentation.loss has an unknown argument, or the model cannot tell the
            objects of a panoptic run apart, or has pixel heads that nothing teaches.
    """

    def __init__(
        self, config: TrainConfig, model: SpikingModel, classes: int, device: torch.device
    ) -> None:
        super().__init__(config, model)
        self._loss = build_segmentation_loss(config, model, classes).to(device)

    def task_loss(self, images: Tensor, output: Any, targets: Any) -> Tensor:
        """The matched loss of all outputs.

        Args:
            images: What the model has just seen.
            output: A `Segmentation` or `PixelSegmentation`.
            targets: B images' `Segments`.
        """
        check_segmentation(output)
        terms: dict[str, Tensor] = self._loss(output, targets)
        self.terms = {name: term.detach() for name, term in terms.items() if name != "total"}
        return terms["total"]


def build_segmentation_loss(config: TrainConfig, model: SpikingModel, classes: int) -> nn.Module:
    """What a segmenter minimises besides the price of firing.

    Args:
        config: The run.
        model: The model, which needs no memory for this.
        classes: Classes K.

    Raises:
        ValueError: If segmentation.loss has an unknown argument, or the model cannot tell the
            objects of a panoptic run apart, or has pixel heads that nothing teaches.
    """
    build: Callable[..., nn.Module] = SegmentationLoss
    if isinstance(model, SpikeFPN):
        if config.task == "panoptic":
            raise UserError(
                "task is panoptic, but the model gives every pixel a class and cannot tell "
                "objects apart; pass task=semantic, or a model.name such as spike2former_nano"
            )
        build = PixelLoss
    elif config.task == "panoptic":
        build = SegmentationLoss.panoptic
    try:
        loss = build(classes, **config.segmentation.loss)
    except TypeError as error:
        known = "SegmentationLoss" if build is not PixelLoss else "PixelLoss, which has none"
        raise UserError(f"segmentation.loss: {error}; see {known}") from error
    heads = isinstance(model, Spike2Former) and len(model.pixel_heads) > 0
    if heads and not loss.auxiliary_pixel_loss:
        raise UserError(
            "model.arguments.pixel_heads is true, but segmentation.loss.auxiliary_pixel_loss "
            "is 0, so nothing teaches the heads; pass a weight such as 1.0, or leave "
            "pixel_heads out"
        )
    return loss
