"""The kind of validation figures of each task, to read them from files."""

from __future__ import annotations

from spikesight.training.config import TaskName
from spikesight.training.tasks.classification.evaluation import Evaluation
from spikesight.training.tasks.figures import Figures
from spikesight.training.tasks.masked_image.evaluation import MaskedImageFigures
from spikesight.training.tasks.segmentation.evaluation import PanopticFigures, SemanticFigures

FIGURES: dict[TaskName, type[Figures]] = {
    "classification": Evaluation,
    "semantic": SemanticFigures,
    "panoptic": PanopticFigures,
    "masked_image": MaskedImageFigures,
}
