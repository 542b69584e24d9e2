"""Showing a model all images of a validation: what every task's figures begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from accelerate import Accelerator
from torch import nn

from spikesight.errors import UserError
from spikesight.training.neuron_checks import FiringWatch
from spikesight.training.runs.processes import total

BatchT = TypeVar("BatchT")


def show_all(
    model: nn.Module,
    batches: Iterable[BatchT],
    accelerator: Accelerator,
    limit_batches: int | None,
    show: Callable[[BatchT], Iterable[int]],
) -> tuple[int, float | None, tuple[str, ...]]:
    """Shows a model batches, in evaluation mode, and watches its neurons.

    Args:
        model: The model.
        batches: Of this process; over all processes each image once.
        accelerator: Device and processes.
        limit_batches: Stop after so many batches per process.
        show: Shows the model a batch and adds up what it says; gives the number of images of each
            forward pass after it.

    Returns:
        Number of images, mean firing rate and names of the silent neurons, over all processes.

    Raises:
        UserError: If there is not a single image.
    """
    was_training, seen = model.training, 0
    model.eval()
    with FiringWatch(model) as watch:
        for batch in islice(batches, limit_batches):
            for images in show(batch):
                watch.note(images)
                seen += images
    model.train(was_training)
    (count,) = total(accelerator, [seen])
    if count == 0:
        raise UserError("there is no image to evaluate; check the data and limit_batches")
    return int(count), *watch.result(accelerator)
