"""What a segmenter minimises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.losses.pixels import PixelLoss
from spikesight.losses.segmentation import SegmentationLoss
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import Objective
from spikesight.training.tasks.segmentation.evaluation import check_segmentation


class SegmentationObjective(Objective):
    """Matched classes and masks, or classes of pixels, and the price of firing.

    Semantic runs learn by MaskFormer's set of terms, panoptic runs by Mask2Former's; a model that
    gives every pixel a class by their cross-entropy.

    Args:
        config: The run.
        model: The model that learns, on its device.
        classes: Classes K.
        panoptic: Whether objects are told apart.
        device: Where the model is.

    Raises:
        ValueError: If segmentation.loss has an unknown argument, or the model cannot tell the
            objects of a panoptic run apart, or has pixel heads that nothing teaches.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: SpikingModel,
        classes: int,
        panoptic: bool,
        device: torch.device,
    ) -> None:
        super().__init__(config, model)
        self._loss = build_segmentation_loss(config, model, classes, panoptic).to(device)

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


def build_segmentation_loss(
    config: TrainConfig, model: SpikingModel, classes: int, panoptic: bool
) -> nn.Module:
    """What a segmenter, which needs no memory for this, minimises besides the price of firing.

    Raises:
        ValueError: If segmentation.loss has an unknown argument, or the model cannot tell the
            objects of a panoptic run apart, or has pixel heads that nothing teaches.
    """
    build: Callable[..., nn.Module] = SegmentationLoss
    if model.gives == "pixels":
        if panoptic:
            raise UserError(
                f"task is {config.task}, but the model gives every pixel a class and cannot tell "
                "objects apart; pass task=semantic, or a model.name such as spike2former_nano"
            )
        build = PixelLoss
    elif panoptic:
        build = SegmentationLoss.panoptic
    try:
        loss = build(classes, **config.segmentation.loss)
    except TypeError as error:
        known = "SegmentationLoss" if build is not PixelLoss else "PixelLoss, which has none"
        raise UserError(f"segmentation.loss: {error}; see {known}") from error
    if panoptic and loss.assignment == "fixed":
        raise UserError(
            "segmentation.loss.assignment is fixed, which gives every class one query, and task "
            "is panoptic, where a class has many objects; leave it out, or pass task=semantic"
        )
    heads = bool(getattr(model, "pixel_heads", None))
    if not heads and getattr(loss, "semantic_map_loss", False):
        raise UserError(
            "segmentation.loss.semantic_map_loss stands beside the loss of pixel heads and the "
            "model has none; pass segmentation.loss.auxiliary_pixel_loss, which is the same there"
        )
    if heads and not loss.auxiliary_pixel_loss:
        raise UserError(
            "model.arguments.pixel_heads is true, but segmentation.loss.auxiliary_pixel_loss "
            "is 0, so nothing teaches the heads; pass a weight such as 1.0, or leave "
            "pixel_heads out"
        )
    return loss
