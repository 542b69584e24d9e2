"""What a run is made of, from its configuration."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from torch.optim import Optimizer

from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.options import check_arguments
from spikesight.passes import fused_kernels, quantize
from spikesight.passes.quantization import quantize_like
from spikesight.pretrained import read_recipe
from spikesight.private_api import forget_processes
from spikesight.registry import create_model
from spikesight.training.config import TrainConfig
from spikesight.training.precision import Precision, choose_precision, warn_if_emulated
from spikesight.training.runs.shared_statistics import BatchNorm, share_statistics
from spikesight.training.runs.starting_weights import saved_quantization, start_from
from spikesight.training.tasks.table import find_task


def build_accelerator(
    precision: Precision = "no",
    device: Literal["auto", "cpu"] = "auto",
    accumulation: int = 1,
) -> Accelerator:
    """The processes, device and precision of a run, as the launcher and the machine give them.

    Args:
        precision: Autocast type; "auto" is bf16 where the device computes it, else float32.
        device: "cpu" leaves GPUs alone.
        accumulation: Batches per update.

    Raises:
        ValueError: If the device cannot compute in this precision.
    """
    check_arguments(build_accelerator, locals())
    forget_processes()
    # Sums need float64, which Apple's GPUs do not have.
    cpu = device == "cpu" or not (torch.cuda.is_available() or torch.xpu.is_available())
    if cpu and precision == "fp16":
        raise UserError("precision is fp16, which needs a GPU; pass precision=auto or precision=no")
    kind = "cpu" if cpu else "cuda" if torch.cuda.is_available() else "xpu"
    chosen = choose_precision(precision, torch.device(kind))
    warn_if_emulated(chosen, torch.device(kind))
    return Accelerator(cpu=cpu, mixed_precision=chosen, gradient_accumulation_steps=accumulation)


def prepare(
    accelerator: Accelerator, model: nn.Module, optimizer: Optimizer, *, sync_batch_norm: bool
) -> tuple[nn.Module, Optimizer]:
    """Makes a model ready to learn, in several processes if there are.

    Args:
        accelerator: Device, precision and processes.
        model: The model, of which copies that do not learn were made before.
        optimizer: What moves its weights.
        sync_batch_norm: Whether batch normalisations see the images of all processes.

    Returns:
        What is called in training, and the optimiser.

    Raises:
        UserError: If a normalisation cannot see them.
    """
    if accelerator.num_processes == 1:
        return _prepare(accelerator, model, optimizer)
    if sync_batch_norm:
        share_statistics(model)
    shared = {
        buffer
        for module in model.modules()
        if sync_batch_norm and isinstance(module, BatchNorm)
        for buffer in module.buffers()
    }
    options: Any = accelerator
    options.ddp_handler = DistributedDataParallelKwargs(
        broadcast_buffers=not shared.issuperset(model.buffers()),
        # Whether someone's own module reads all that it holds is not known.
        find_unused_parameters=not all(map(_is_known, model.modules())),
    )
    with warnings.catch_warnings():  # PyTorch renames broadcast_buffers, accelerate does not yet
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
        return _prepare(accelerator, model, optimizer)


def fused_training(
    config: TrainConfig, accelerator: Accelerator, model: nn.Module
) -> AbstractContextManager[object]:
    """One pass for normalisation and neuron, where a CPU trains alone in channels_last.

    Args:
        config: The run.
        accelerator: Its device and processes.
        model: The model that learns.
    """
    alone = accelerator.num_processes == 1 and accelerator.device.type == "cpu"
    if alone and config.channels_last and config.compile != "model":
        return fused_kernels(model)
    return nullcontext()


def _prepare(
    accelerator: Accelerator, model: nn.Module, optimizer: Optimizer
) -> tuple[nn.Module, Optimizer]:
    prepared, moved = accelerator.prepare(model, optimizer)
    # Training autocasts where it needs to; evaluation is in float32, as `spikesight val` is.
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    return prepared, moved


def _is_known(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] in ("spikesight", "torch", "timm")


def build_model(
    config: TrainConfig, classes: int, channels: int, *, resumed: Path | None = None
) -> tuple[SpikingModel, list[str]]:
    """The model before its first update.

    Args:
        config: The run.
        classes: Classes of the data.
        channels: Channels of its images.
        resumed: Saved model of a run that goes on: it says how weights are quantised, and its
            weights, not model.weights, are to be filled in by the caller.

    Returns:
        The model, and what model.weights left fresh, as sentences.

    Raises:
        ValueError: If the model has fewer classes than the data, or does not fit model.weights.
    """
    wanted, task = config.model, find_task(config.task)
    if wanted.num_classes is not None:
        task.check_classes(wanted.num_classes, classes)
    model: SpikingModel = create_model(
        wanted.name,
        num_classes=wanted.num_classes or classes,
        in_channels=channels,
        steps=wanted.steps,
        levels=wanted.levels,
        neuron=wanted.neuron,
        neuron_arguments=wanted.neuron_arguments,
        drop_path_rate=wanted.drop_path_rate,
        **wanted.arguments,
    )
    model = task.complete(config, model)
    source = wanted.weights if resumed is None else None
    if resumed is not None:
        saved = read_recipe(resumed).quantization
    else:
        saved = None if source is None else saved_quantization(wanted)
    if saved is not None:
        quantize_like(model, saved)
    fresh = [] if source is None else start_from(model, source)
    if wanted.bits is not None and saved is None:
        quantize(model, wanted.bits, wanted.recipe, wanted.power_of_two)
    return model, fresh


def count_batches(config: TrainConfig, available: int) -> int:
    """Batches of an epoch: as many as make whole updates."""
    batches = available if config.limit_batches is None else min(available, config.limit_batches)
    return batches - batches % config.accumulation
