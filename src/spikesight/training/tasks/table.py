"""The tasks by name: those of this package, and a user's own."""

from __future__ import annotations

import importlib
from typing import TypeVar

from spikesight.errors import UserError
from spikesight.files.documents import shortened
from spikesight.lazy_names import TYPE_CHECKING

if TYPE_CHECKING:
    from spikesight.training.tasks.base import Task

TaskT = TypeVar("TaskT", bound="type[Task]")

# A task, or where it is: a configuration names one long before its modules are needed.
_TASKS: dict[str, type[Task] | str] = {
    "classification": "classification.task:ClassificationTask",
    "semantic": "segmentation.task:SemanticTask",
    "panoptic": "segmentation.task:PanopticTask",
    "masked_image": "masked_image.task:MaskedImageTask",
}


def register_task(task: TaskT) -> TaskT:
    """Makes a task known by its `name`, to configurations, cards and every command; a decorator.

    Args:
        task: A subclass of `Task`, or of one of the tasks here.

    Raises:
        ValueError: If another task has that name.
    """
    known = _TASKS.get(task.name)
    # A file that is imported twice brings its task again.
    if known is not None and getattr(known, "__qualname__", None) != task.__qualname__:
        raise UserError(f"there is a task {task.name!r} already; give {task.__name__} another name")
    _TASKS[task.name] = task
    return task


def task_names() -> list[str]:
    """Names of all tasks, those of this package first."""
    return list(_TASKS)


def find_task(name: object, file: str = "", remedy: str = "") -> type[Task]:
    """The task of a name.

    Args:
        name: What was written.
        file: The file and the field where it was written, for the message.
        remedy: What helps against a wrong one there.

    Raises:
        UserError: If there is none.
    """
    if not isinstance(name, str) or name not in _TASKS:
        written, known_ones = shortened(repr(name)), ", ".join(_TASKS)
        if file:
            raise UserError(f"{file}: {written} is none of {known_ones}; {remedy}")
        raise UserError(
            f"task is {written}; pass one of {known_ones}, or --import=FILE with the file that "
            "registers another"
        )
    known = _TASKS[name]
    if isinstance(known, str):
        module, _, attribute = known.partition(":")
        package = __name__.rpartition(".")[0]
        known = _TASKS[name] = getattr(importlib.import_module(f"{package}.{module}"), attribute)
    return known
