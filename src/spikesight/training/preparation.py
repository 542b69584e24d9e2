"""What a run is made of, from its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from spikesight.data import Loaders, build_loaders
from spikesight.models import SpikingModel
from spikesight.passes import quantize
from spikesight.registry import create_model
from spikesight.training.checkpoint import load_weights, resolve_model_folder
from spikesight.training.config import ModelConfig, TrainConfig


def build_accelerator(
    precision: Literal["no", "bf16", "fp16"] = "no",
    device: Literal["auto", "cpu"] = "auto",
    accumulation: int = 1,
) -> Accelerator:
    """The processes, device and precision of a run, as the launcher and the machine give them.

    Args:
        precision: Autocast type.
        device: "cpu" leaves GPUs alone.
        accumulation: Batches per update.

    Raises:
        ValueError: If the device cannot compute in this precision.
    """
    # accelerate keeps one state per process; without this, a second run in it could not have
    # another device or precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    # Sums need float64, which Apple's GPUs do not have.
    cpu = device == "cpu" or not (torch.cuda.is_available() or torch.xpu.is_available())
    if cpu and precision == "fp16":
        raise ValueError("precision is fp16, which needs a GPU; pass precision bf16 or no")
    return Accelerator(cpu=cpu, mixed_precision=precision, gradient_accumulation_steps=accumulation)


def build_run_loaders(config: TrainConfig, accelerator: Accelerator) -> Loaders:
    """The loaders of this process."""
    return build_loaders(
        config.data,
        batch_size=config.batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        drop_last=True,
    )


def build_model(config: TrainConfig, classes: int, channels: int) -> tuple[SpikingModel, list[str]]:
    """The model before its first update.

    Args:
        config: The run.
        classes: Classes of the data.
        channels: Channels of its images.

    Returns:
        The model, and the names of the tensors that model.weights did not fill.

    Raises:
        ValueError: If the model has fewer classes than the data, or does not fit model.weights.
    """
    wanted = config.model
    if wanted.num_classes is not None and wanted.num_classes < classes:
        raise ValueError(
            f"model.num_classes is {wanted.num_classes} but the data has {classes} classes; "
            "leave model.num_classes out"
        )
    model: SpikingModel = create_model(
        wanted.name,
        num_classes=wanted.num_classes or classes,
        in_channels=channels,
        steps=wanted.steps,
        levels=wanted.levels,
        neuron=wanted.neuron,
        drop_path_rate=wanted.drop_path_rate,
        **wanted.arguments,
    )
    fresh: list[str] = []
    folder = None if wanted.weights is None else resolve_model_folder(wanted.weights)
    saved = None if folder is None else _saved_quantization(folder)
    if saved is not None:
        _check_quantization(wanted, saved)
        quantize(model, **saved)
    if folder is not None:
        fresh = load_weights(model, load_file(folder / "model.safetensors"), str(folder))
    if wanted.bits is not None and saved is None:
        quantize(model, wanted.bits, wanted.recipe, wanted.power_of_two)
    return model, fresh


def _saved_quantization(folder: Path) -> dict[str, Any] | None:
    """How the model in a folder is quantised; None if it is not."""
    file = folder / "config.json"
    described = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if described.get("packed"):
        raise ValueError(
            f"model.weights={folder} holds packed weights, which cannot be trained on; pass the "
            "folder of the run that they were packed from"
        )
    saved: dict[str, Any] | None = described.get("quantization")
    return saved


def _check_quantization(wanted: ModelConfig, saved: dict[str, Any]) -> None:
    asked = {name: getattr(wanted, name) for name in ("bits", "recipe", "power_of_two")}
    if asked != saved:
        options = " ".join(f"model.{name}={value}" for name, value in saved.items())
        raise ValueError(
            f"model.weights={wanted.weights} is quantised otherwise than asked for; pass {options}"
            ", or the folder of the unquantised model"
        )


def count_batches(config: TrainConfig, available: int) -> int:
    """Batches of an epoch: as many as make whole updates.

    Args:
        config: The run.
        available: Batches that the loader has.

    Raises:
        ValueError: If they do not make a single update.
    """
    batches = available if config.limit_batches is None else min(available, config.limit_batches)
    whole = batches - batches % config.accumulation
    if whole == 0:
        raise ValueError(
            f"accumulation is {config.accumulation} but an epoch has only {batches} batch(es) of "
            f"{config.batch_size} images per process; pass a smaller batch_size or accumulation"
        )
    return whole
