"""What the processes of a run tell each other."""

from __future__ import annotations

import os
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, distributed, nn
from torch.autograd import Function

ValueT = TypeVar("ValueT")


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


def joined(accelerator: Accelerator, values: list[ValueT]) -> list[ValueT]:
    """What all processes have, taken in turns: the order in which one process would have it.

    Args:
        accelerator: The processes.
        values: What this one has; anything that can be pickled but None.
    """
    if accelerator.num_processes == 1:
        return values
    turns = zip_longest(*gather_object([values]))
    return [value for turn in turns for value in turn if value is not None]


def share_buffers(accelerator: Accelerator, *models: nn.Module) -> None:
    """Gives every process the first one's buffers, such as the running statistics of norms."""
    if accelerator.num_processes == 1:
        return
    for model in models:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


def mean_of_all(values: Tensor) -> Tensor:
    """The mean over all processes, differentiable.

    The gradient is that of the processes' mean loss, as it is averaged over them afterwards.

    Args:
        values: Equally many in every process.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    mean: Tensor = _MeanOfAll.apply(values)
    return mean


class _MeanOfAll(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _reduced(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _reduced(gradient)


def _reduced(values: Tensor) -> Tensor:
    mean = values / distributed.get_world_size()
    distributed.all_reduce(mean)
    return mean
