"""Measuring a trained model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spikesight.data import DataConfig, build_evaluation_loader
from spikesight.data.sampling import EvaluationSampler
from spikesight.pretrained import load
from spikesight.training.checkpoint import Card
from spikesight.training.config import from_mapping
from spikesight.training.evaluation import Evaluation, evaluate
from spikesight.training.preparation import build_accelerator
from spikesight.training.run_folder import resolve_model_folder


def validate(
    folder: Path,
    data: dict[str, Any] | None = None,
    split: Literal["validation", "test", "all"] = "validation",
    batch_size: int = 128,
    precision: Literal["no", "bf16", "fp16"] = "no",
    device: Literal["auto", "cpu"] = "auto",
    limit_batches: int | None = None,
) -> Evaluation:
    """Measures a trained model: top-1, top-5 and loss; with torchrun on several devices.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data configuration that differ from training, such as the path and
            format of another set of images with the same classes.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass.
        precision: Autocast type: "no" (float32), "bf16" or "fp16".
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.

    Returns:
        The figures.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the data cannot be used or does not fit the model.
    """
    model_folder = resolve_model_folder(folder)
    card = Card.read(model_folder)
    config = override(card.data, data or {})
    accelerator = build_accelerator(precision, device)
    loader = build_evaluation_loader(
        config,
        batch_size,
        card.preprocessing,
        split,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    model = load(model_folder).to(accelerator.device)
    return evaluate(
        model,
        loader,
        card.preprocessing.batch_transform,
        accelerator,
        limit_batches=limit_batches,
    )


def sample_images(
    folder: Path,
    data: dict[str, Any] | None = None,
    count: int = 32,
    split: Literal["validation", "test", "all"] = "validation",
) -> Tensor:
    """Evaluation images as a trained model takes them, spread evenly over the set.

    Args:
        folder: Folder of a run, or its best/ or last/.
        data: Fields of the data configuration that differ from training.
        count: Number of images; all if the set has fewer.
        split: As for `validate`.

    Returns:
        Normalised images [count, C, H, W].

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If the data cannot be used or `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"images is {count}; pass 1 or more")
    card = Card.read(resolve_model_folder(folder))
    loader = build_evaluation_loader(override(card.data, data or {}), 64, card.preprocessing, split)
    size = len(loader.sampler)
    loader.sampler = EvaluationSampler(size, 0, max(size // count, 1))
    transform = card.preprocessing.batch_transform
    return torch.cat([transform(images) for images, _ in loader])[:count]


def override(config: DataConfig, changes: dict[str, Any]) -> DataConfig:
    """A data configuration with some fields changed.

    Args:
        config: The configuration of the training.
        changes: New values, as YAML or a command line gives them.

    Raises:
        ValueError: If a field is unknown or a value invalid.
    """
    return from_mapping(DataConfig, asdict(config) | changes)
