"""What can be known to fail before any data or model is read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.runs.preparation import build_model
from spikesight.training.runs.starting_weights import saved_quantization, start_from
from spikesight.training.tasks.table import find_task
from spikesight.training.teachers import check_teacher

_SOME_CLASSES = 2  # where only the data know how many


def check_feasible(config: TrainConfig, *, filled: bool) -> None:
    """Refuses a run that its configuration and its weights cannot carry out.

    The model is built without memory, so that its name, sizes and arguments are tried.

    Args:
        config: The run.
        filled: Whether it starts from model.weights; not where it goes on.

    Raises:
        FileNotFoundError: If the starting weights or the teacher are not there.
        ValueError: If anything does not fit together.
    """
    task, classes = find_task(config.task), config.model.num_classes or _SOME_CLASSES
    plain = replace(config, model=replace(config.model, bits=None, weights=None))
    with torch.device("meta"):
        model, _ = build_model(plain, classes, task.input_channels(config))
    task.check_feasible(config, model, classes)
    holds_events = config.data.holds_events or config.objects.holds_events
    check_teacher(config.distillation, holds_events, config.task)
    _check_sides(config, model)
    check_batch(config, model, config.batch_size)
    if filled and config.model.weights is not None and saved_quantization(config.model) is None:
        with warnings.catch_warnings():  # torch says that nothing is copied
            warnings.simplefilter("ignore", UserWarning)
            start_from(model, config.model.weights)


def check_batch(config: TrainConfig, model: SpikingModel, batch_size: int) -> None:
    """Refuses batches of which a normalisation sees one value per channel.

    Raises:
        UserError: If a channel's variance cannot be measured.
    """
    task = find_task(config.task)
    values = task.positions(model, task.input_side(config)[1])
    if batch_size * config.model.steps * values <= 1:
        raise UserError(_one_value(config, batch_size))


def describe_smaller_batch(config: TrainConfig, batch_size: int, images: int) -> str | None:
    """Says that batches are smaller than asked for; None if they are not.

    Args:
        config: The run.
        batch_size: Of its batches as they are.
        images: It trains on so many.
    """
    if batch_size == config.batch_size:
        return None
    return (
        f"batch_size is {batch_size} instead of {config.batch_size}: {images} training images fill "
        "no larger one"
    )


@contextmanager
def explained_normalisations(config: TrainConfig, batch_size: int) -> Iterator[None]:
    """Says what helps where a normalisation sees one value per channel, as of a skipped image."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(_one_value(config, batch_size)) from error


def _one_value(config: TrainConfig, batch_size: int) -> str:
    field, _ = find_task(config.task).input_side(config)
    return (
        f"a batch of {batch_size} image(s) with {field} {_written(config, field)} leaves "
        f"{config.model.name} maps of one pixel, which cannot be normalised in training; pass a "
        f"larger batch_size (and as many images) or a larger {field}"
    )


def _check_sides(config: TrainConfig, model: SpikingModel) -> None:
    task = find_task(config.task)
    step, (field, sides) = task.input_step(model), task.input_side(config)
    for side in sides:
        if side % step:
            near = sorted({max(step, side // step * step), (side // step + 1) * step})
            raise UserError(
                f"{field} is {_written(config, field)}, but {config.model.name} takes images with "
                f"sides divisible by {step}; pass {' or '.join(map(str, near))}"
            )


def _written(config: TrainConfig, field: str) -> object:
    """A field as YAML has it."""
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value
