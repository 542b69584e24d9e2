"""A class for every pixel."""

from __future__ import annotations

from torch import nn

from spikesight.training.tasks.segmentation.evaluation import SemanticFigures, evaluate_semantic
from spikesight.training.tasks.segmentation.task import SegmentationTask


class SemanticTask(SegmentationTask):
    """Validation by mean intersection over union."""

    figures = SemanticFigures

    def evaluate(self, model: nn.Module) -> SemanticFigures:
        """Mean IoU and pixel accuracy."""
        return evaluate_semantic(
            model,
            self.loaders.validation,
            self.loaders.preprocessing,
            self.accelerator,
            self.config.segmentation.view,
            limit_batches=self.config.limit_batches,
        )
