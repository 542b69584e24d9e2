"""The task that a configuration names."""

from __future__ import annotations

from accelerate import Accelerator

from spikesight.training.config import TaskName, TrainConfig
from spikesight.training.tasks.base import Task
from spikesight.training.tasks.classification.task import ClassificationTask
from spikesight.training.tasks.masked_image.task import MaskedImageTask
from spikesight.training.tasks.segmentation.panoptic import PanopticTask
from spikesight.training.tasks.segmentation.semantic import SemanticTask

TASKS: dict[TaskName, type[Task]] = {
    "classification": ClassificationTask,
    "semantic": SemanticTask,
    "panoptic": PanopticTask,
    "masked_image": MaskedImageTask,
}


def build_task(config: TrainConfig, accelerator: Accelerator) -> Task:
    """Reads the data of a run.

    Args:
        config: The run.
        accelerator: Device, precision and processes.

    Raises:
        ValueError: If the data cannot be used.
    """
    return TASKS[config.task](config, accelerator)
