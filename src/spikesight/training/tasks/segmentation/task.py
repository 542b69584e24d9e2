"""What semantic and panoptic segmentation share: scenes and the matched loss."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from spikesight.data.segmentation import SceneLoaders, Truth, Truths, build_scene_loaders
from spikesight.losses.segments import Segments
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.objective import SegmentationObjective
from spikesight.training.runs.scene_card import SceneCard
from spikesight.training.tasks.base import Prepared, Task
from spikesight.training.tasks.figures import Figures


class SegmentationTask(Task):
    """Augmented scenes and the matched loss."""

    loaders: SceneLoaders

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self.loaders = build_scene_loaders(
            config.scenes,
            batch_size=config.batch_size,
            seed=config.seed,
            panoptic=config.task == "panoptic",
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            accumulation=config.accumulation,
        )

    def objective(self, model: SpikingModel, device: torch.device) -> SegmentationObjective:
        """Matched classes and masks, and the price of firing."""
        outputs = model.recipe["arguments"]["num_classes"]
        return SegmentationObjective(self.config, model, outputs, device)

    def prepare(self, images: Tensor, labels: Truths, epoch: int, batch: int) -> Prepared:
        """Normalised crops [B, 3, H, W] and B images' segments."""
        device = self.accelerator.device
        transform = self.loaders.preprocessing.batch_transform
        shown = transform(images.to(device, non_blocking=True))
        targets = [segments_of(truth).to(device) for truth in labels]
        return Prepared(shown, targets, len(targets))

    def card(self, epoch: int, weights: str, figures: Figures | None) -> SceneCard:
        """The scenes and preprocessing of a segmenter."""
        loaders = self.loaders
        view = self.config.segmentation.view
        return SceneCard(
            self.config.task,
            loaders.config,
            loaders.preprocessing,
            epoch,
            weights,
            figures,
            view,
            self.precision,
        )


def segments_of(truth: Truth) -> Segments:
    """The segments that are there, without crowds, which nobody could learn.

    Args:
        truth: Segments of a crop.
    """
    present = [int(n) for n in truth.segment_map.unique() if n >= 0 and not truth.crowd[int(n)]]
    numbers = torch.tensor(present, dtype=torch.int64)
    masks = truth.segment_map[None] == numbers.view(-1, 1, 1)
    return Segments(truth.segment_classes[numbers], masks)
