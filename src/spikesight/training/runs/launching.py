"""How a run holds its weights: as accelerate's launcher was told."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from spikesight.errors import UserError
from spikesight.models import SpikingModel
from spikesight.training.config import TrainConfig
from spikesight.training.runs.weights import Weights


def hold_weights(config: TrainConfig, accelerator: Accelerator, model: SpikingModel) -> Weights:
    """The weights in the way that accelerate's launcher was told.

    Args:
        config: The run.
        accelerator: Its processes.
        model: The model, on its device; sharded in place where FSDP is asked for.

    Raises:
        UserError: If FSDP is asked for in a form or a run that it is not for.
    """
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if not asked or accelerator.num_processes == 1:
        if config.channels_last:
            model.to(memory_format=torch.channels_last)
        return Weights(accelerator, model, config.ema)
    if os.environ.get("FSDP_VERSION") != "2":
        raise UserError("FSDP is asked for in version 1; pass fsdp_version: 2 to accelerate")
    if config.optimizer.name in ("lamb", "muon"):
        wants = "norms of layers need" if config.optimizer.name == "lamb" else "matrices are"
        raise UserError(
            f"optimizer.name is {config.optimizer.name}, whose {wants} whole weights, and FSDP "
            "shards them; pass optimizer.name=adamw, or launch with a copy of the model per process"
        )
    if config.memory != "normal":
        raise UserError(
            f"memory is {config.memory}, which computes again with weights that FSDP let go of; "
            "pass memory=normal"
        )
    if config.compile != "none":
        raise UserError("compile is model and FSDP shards the model; pass compile=none")
    # PyTorch is built without this in places.
    from spikesight.training.runs.sharded_weights import ShardedWeights

    return ShardedWeights(accelerator, model, config.ema)
