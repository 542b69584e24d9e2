"""The tasks by name: those of this package, and a user's own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TypeVar

from spikesight.errors import UserError
from spikesight.files.documents import shortened
from spikesight.lazy_names import TYPE_CHECKING
from spikesight.parts import find_part, list_parts, remember, reserve

if TYPE_CHECKING:
    from spikesight.training.tasks.base import Task

TaskT = TypeVar("TaskT", bound="type[Task]")

# Where the tasks are: a configuration names one long before its modules are needed.
_TASKS = {
    "classification": "classification.task:ClassificationTask",
    "semantic": "segmentation.task:SemanticTask",
    "panoptic": "segmentation.task:PanopticTask",
    "detection": "detection.task:DetectionTask",
    "instances": "instances.task:InstanceTask",
    "masked_image": "masked_image.task:MaskedImageTask",
}
reserve("task", _TASKS)


def register_task(task: TaskT) -> TaskT:
    """Makes a task known by its `name`, to configurations, cards and every command; a decorator.

    Args:
        task: A subclass of `Task`, or of one of the tasks here.

    Raises:
        UserError: If a task of spikesight has that name.
    """
    if task.name in _TASKS:
        raise UserError(f"there is a task {task.name!r} already; give {task.__name__} another name")
    remember("task", task.name, task)
    return task


def task_names() -> list[str]:
    """Names of all tasks, those of this package first."""
    return [*_TASKS, *list_parts("task")]


def tasks_that_say(method: str) -> Iterator[type[Task]]:
    """The tasks to ask whether something is for them, classification, which takes all, last.

    Args:
        method: What they are asked, such as "reads". An own task that only inherits the answer of
            another is not asked: the other one is.
    """
    for name in reversed(task_names()):
        task = find_task(name)
        if name in _TASKS or method in vars(task):
            yield task


def find_task(name: object, file: str = "", remedy: str = "") -> type[Task]:
    """The task of a name.

    Args:
        name: What was written.
        file: The file and the field where it was written, for the message.
        remedy: What helps against a wrong one there.

    Raises:
        UserError: If there is none.
    """
    if isinstance(name, str) and name in _TASKS:
        module, _, attribute = _TASKS[name].partition(":")
        place = importlib.import_module(f"{__name__.rpartition('.')[0]}.{module}")
        task: type[Task] = getattr(place, attribute)
        return task
    own: type[Task] | None = find_part("task", name) if isinstance(name, str) else None
    if own is not None:
        return own
    written, known = shortened(repr(name)), ", ".join(task_names())
    if file:
        raise UserError(f"{file}: {written} is none of {known}; {remedy}")
    raise UserError(
        f"task is {written}; pass one of {known}, or --import the file that registers another "
        "with ss.register_task"
    )
