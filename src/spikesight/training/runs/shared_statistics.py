"""Batch normalisation over the images of all processes, on CPUs and GPUs alike.

`torch.nn.SyncBatchNorm` refuses tensors on a CPU, and is no `BatchNorm2d`, which every pass over
the graph knows. Here the module stays what it is, and only its forward pass in training differs.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from spikesight.errors import UserError

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def share_statistics(model: nn.Module) -> None:
    """Lets the batch normalisations of a model see the images of all processes as one batch.

    In training mean and variance are those of one process with all the images, however many of
    them each process has, and so are the gradients. Every process must call the model equally
    often. In evaluation nothing changes.

    Args:
        model: Changed in place; its tensors and their names stay.

    Raises:
        UserError: If a normalisation has a forward pass of its own.
    """
    for name, module in model.named_modules():
        if not isinstance(module, BatchNorm):
            continue
        if type(module).forward is not nn.BatchNorm2d.forward:
            raise UserError(
                f"{name} is a {type(module).__name__} with a forward pass of its own, whose "
                "statistics several processes cannot share; pass sync_batch_norm=false"
            )
        object.__setattr__(module, "forward", MethodType(_forward, module))


def _forward(norm: BatchNorm, x: Tensor) -> Tensor:
    if not norm.training:
        output: Tensor = type(norm).forward(norm, x)
        return output
    mean, variance, count = _statistics_of_all(x.detach())
    if count <= 1:
        raise ValueError(f"Expected more than 1 value per channel in training, got {x.shape}")
    object.__setattr__(norm, "shared_statistics", (mean, variance))  # for spikesight.memory
    if norm.track_running_stats:
        _follow(norm, mean, variance * (count / (count - 1)))
    normalised: Tensor = _Normalise.apply(
        x, norm.weight, norm.bias, mean, variance, count, norm.eps
    )
    return normalised


@torch.no_grad()
def _follow(norm: BatchNorm, mean: Tensor, unbiased: Tensor) -> None:
    """Moves the running statistics."""
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = norm.momentum
    if share is None:
        share = 1.0 / float(norm.num_batches_tracked)
    for running, new in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        assert running is not None
        running.lerp_(new.to(running.dtype), share)


def _statistics_of_all(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance [C] over the processes' x [N, C, ...], and the values of each."""
    wide = x if x.dtype == torch.float64 else x.float()
    others = [dimension for dimension in range(x.ndim) if dimension != 1]
    variance, mean = torch.var_mean(wide, others, correction=0)
    own = torch.cat([mean.double(), variance.double(), mean.new_tensor([x.numel() // x.shape[1]])])
    table = own.new_empty(distributed.get_world_size(), len(own))
    distributed.all_gather(list(table.unbind()), own)
    means, variances = table[:, :-1].chunk(2, dim=1)
    counts = table[:, -1:]
    total = counts.sum()
    common = (means * counts).sum(0) / total
    spread = ((variances + (means - common).square()) * counts).sum(0) / total
    return common.to(wide.dtype), spread.to(wide.dtype), int(total)


class _Normalise(Function):
    """Normalises by statistics that all processes had a part in."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: int,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # of_x takes the statistics as given; what goes through them is the same for all processes.
        shared = torch.stack([of_bias, of_weight]).to(mean.dtype)
        distributed.all_reduce(shared)
        through_mean, through_spread = shared / ctx.count
        deviation = (variance + ctx.eps).rsqrt()
        gain = deviation if weight is None else weight * deviation

        def across(values: Tensor) -> Tensor:
            return values.view(1, -1, *[1] * (x.ndim - 2))

        correction = (x - across(mean)) * across(gain * deviation * through_spread)
        of_x = (of_x - correction.add_(across(gain * through_mean))).to(x.dtype)
        wanted = weight is not None
        parameters = (of_weight, of_bias) if wanted else (None, None)
        return of_x, *parameters, None, None, None, None
