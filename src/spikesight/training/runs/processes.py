"""What the processes of a run tell each other."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from torch import Tensor, nn


def is_main_process() -> bool:
    """Whether this is the process that writes, before there is an accelerator to ask."""
    return os.environ.get("RANK", "0") == "0"


def largest(accelerator: Accelerator, value: float) -> float:
    """The largest value that any process passes; the same for all of them.

    Args:
        accelerator: The processes.
        value: A number that float32 holds.
    """
    if accelerator.num_processes == 1:
        return value
    own = torch.tensor([value], device=accelerator.device)
    return float(accelerator.gather(own).max())


def total(accelerator: Accelerator, values: list[float | Tensor]) -> list[float]:
    """Sums over all processes, in float64."""
    own = torch.tensor([float(value) for value in values], dtype=torch.float64)
    summed: Tensor = accelerator.reduce(own.to(accelerator.device), "sum")
    return list(summed.tolist())


def share_buffers(accelerator: Accelerator, *models: nn.Module) -> None:
    """Gives every process the first one's buffers, such as the running statistics of norms."""
    if accelerator.num_processes == 1:
        return
    for model in models:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
