"""What can be known to fail before any data or model is read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from spikesight.errors import UserError
from spikesight.models import MaskedAutoencoder, SpikingModel, StageFeatures
from spikesight.training.config import TrainConfig
from spikesight.training.objective import build_segmentation_loss
from spikesight.training.runs.preparation import build_model
from spikesight.training.runs.starting_weights import saved_quantization, start_from
from spikesight.training.tasks.classification.evaluation import NO_CLASSIFIER
from spikesight.training.tasks.segmentation.evaluation import NO_SEGMENTER
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
    segments = config.task in ("semantic", "panoptic")
    classes = config.model.num_classes or _SOME_CLASSES
    plain = replace(config, model=replace(config.model, bits=None, weights=None))
    with torch.device("meta"):
        model, _ = build_model(plain, classes, 3 if segments else config.data.channels)
    segmenter = isinstance(getattr(model, "trunk", None), StageFeatures)
    if segmenter and config.task == "classification":
        raise UserError(f"model.name is {config.model.name}: {NO_CLASSIFIER}")
    if segments and not segmenter and hasattr(model, "feature_stages"):
        raise UserError(f"model.name is {config.model.name}: {NO_SEGMENTER}")
    if segments:
        build_segmentation_loss(config, model, classes)
    _check_sides(config, model)
    check_batch(config, model, config.batch_size)
    check_teacher(config.distillation, config.data.holds_events)
    if filled and config.model.weights is not None and saved_quantization(config.model) is None:
        with warnings.catch_warnings():  # torch says that nothing is copied
            warnings.simplefilter("ignore", UserWarning)
            start_from(model, config.model.weights)


def check_batch(config: TrainConfig, model: SpikingModel, batch_size: int) -> None:
    """Refuses batches of which a normalisation sees one value per channel.

    Args:
        config: The run.
        model: Its model.
        batch_size: Images per process and forward pass.

    Raises:
        UserError: If a channel's variance cannot be measured.
    """
    rows, columns = (side // model.stride for side in _sides(config))
    values = rows * columns
    if isinstance(model, MaskedAutoencoder):
        tokens = (model.patch // model.stride) ** 2
        values -= model.sizes.hidden(values // tokens) * tokens
    if batch_size * config.model.steps * values <= 1:
        raise UserError(_one_value(config, batch_size))


@contextmanager
def explained_normalisations(config: TrainConfig, batch_size: int) -> Iterator[None]:
    """Says what helps where a normalisation sees one value per channel, as of a skipped image.

    Args:
        config: The run.
        batch_size: Images in the batch.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(_one_value(config, batch_size)) from error


def _one_value(config: TrainConfig, batch_size: int) -> str:
    field, size = _size_field(config)
    return (
        f"a batch of {batch_size} image(s) with {field} {size} leaves {config.model.name} maps of "
        f"one pixel, which cannot be normalised in training; pass a larger batch_size (and as many "
        f"images) or a larger {field}"
    )


def _check_sides(config: TrainConfig, model: SpikingModel) -> None:
    step = model.patch if isinstance(model, MaskedAutoencoder) else model.stride
    field, size = _size_field(config)
    for side in _sides(config):
        if side % step:
            near = sorted({max(step, side // step * step), (side // step + 1) * step})
            raise UserError(
                f"{field} is {size}, but {config.model.name} takes images with sides divisible by "
                f"{step}; pass {' or '.join(map(str, near))}"
            )


def _sides(config: TrainConfig) -> tuple[int, int]:
    if config.task in ("semantic", "panoptic"):
        return config.scenes.crop_size
    return config.data.image_size, config.data.image_size


def _size_field(config: TrainConfig) -> tuple[str, object]:
    if config.task in ("semantic", "panoptic"):
        return "scenes.crop_size", list(config.scenes.crop_size)
    return "data.image_size", config.data.image_size
