"""A segment for every pixel, objects told apart."""

from __future__ import annotations

from torch import nn

from spikesight.training.tasks.segmentation.evaluation import PanopticFigures, evaluate_panoptic
from spikesight.training.tasks.segmentation.task import SegmentationTask


class PanopticTask(SegmentationTask):
    """Validation by panoptic quality."""

    figures = PanopticFigures

    def evaluate(self, model: nn.Module) -> PanopticFigures:
        """Panoptic quality of all, thing and stuff classes."""
        return evaluate_panoptic(
            model,
            self.loaders.validation,
            self.loaders.preprocessing,
            self.accelerator,
            self.config.segmentation.view,
            limit_batches=self.config.limit_batches,
        )
