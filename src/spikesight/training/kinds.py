"""The kind of validation figures of each task, to read them from files."""

from __future__ import annotations

from spikesight.training.config import TaskName
from spikesight.training.evaluation import Evaluation
from spikesight.training.figures import Figures
from spikesight.training.masked_image_evaluation import MaskedImageFigures
from spikesight.training.segmentation_evaluation import PanopticFigures, SemanticFigures

FIGURES: dict[TaskName, type[Figures]] = {
    "classification": Evaluation,
    "semantic": SemanticFigures,
    "panoptic": PanopticFigures,
    "masked_image": MaskedImageFigures,
}
