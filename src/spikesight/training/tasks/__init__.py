"""What differs between the tasks of a run: batches, loss, validation and what best means."""

from spikesight.training.tasks.base import Prepared, Task
from spikesight.training.tasks.building import build_task

__all__ = ["Prepared", "Task", "build_task"]
