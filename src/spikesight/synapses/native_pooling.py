"""Max pooling by the native kernels, perhaps of a batch normalisation that is not stored.

Beside the outputs one byte each is kept, where PyTorch keeps eight, and the gradient is written in
one pass. Behind a normalisation neither the normalised map nor its gradient exists.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesight.neurons import kernels
from spikesight.neurons.dynamics import Dynamics
from spikesight.neurons.native import ready
from spikesight.neurons.native_norm import NormCall, count_batch, norm_call, suits_rows
from spikesight.neurons.recurrence import Rule, compute_dtype
from spikesight.neurons.surrogate import StraightThrough

# The kernels of a normalisation count rows by time step; a pool has none.
_ONE_STEP = Rule(Dynamics(), StraightThrough())
_LARGEST_KERNEL = 15  # places in a window are bytes


class _PoolCall(ctypes.Structure):
    """`PoolCall` of native/training/neuron_rule.hpp."""

    _fields_ = (
        ("norm", NormCall),
        ("index", c_void_p),
        *((name, c_int64) for name in ("images", "height", "width", "out_height", "out_width")),
        *((name, c_int64) for name in ("kernel", "stride", "padding")),
    )


def max_pool(x: Tensor, pool: nn.MaxPool2d, norm: nn.BatchNorm2d | None = None) -> Tensor:
    """Computes ``pool(norm(x))``, or ``pool(x)``, in one pass where the native kernels can.

    They take channels-last inputs while gradients are on; everything else goes through the
    modules.

    Args:
        x: Shape [N, C, H, W].
        pool: A max pooling.
        norm: A batch normalisation before it.
    """
    if not _serves(x, pool, norm):
        pooled: Tensor = type(pool).forward(pool, x if norm is None else norm(x))
        return pooled
    if norm is None:
        out: Tensor = _Pooling.apply(x, None, None, None, 0.0, pool)
    else:
        out = _Pooling.apply(x, norm.weight, norm.bias, norm, count_batch(norm), pool)
    return out


def _serves(x: Tensor, pool: nn.MaxPool2d, norm: nn.BatchNorm2d | None) -> bool:
    sizes = _sizes(pool)
    return (
        torch.is_grad_enabled()
        and sizes is not None
        and sizes[0] <= _LARGEST_KERNEL
        and pool.dilation == 1
        and not (pool.ceil_mode or pool.return_indices)
        and (norm is None or norm.training or norm.running_mean is not None)
        and suits_rows(x, norm)
        and kernels.takes_native(x, _ONE_STEP)
    )


def _sizes(pool: nn.MaxPool2d) -> tuple[int, int, int] | None:
    """Kernel, stride and padding, where they are the same in both directions."""
    kernel, stride, padding = pool.kernel_size, pool.stride, pool.padding
    if isinstance(kernel, int) and isinstance(stride, int) and isinstance(padding, int):
        return kernel, stride, padding
    return None


class _Pooling(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        norm: nn.BatchNorm2d | None,
        momentum: float,
        pool: nn.MaxPool2d,
    ) -> Tensor:
        count, channels, height, width = x.shape
        geometry = _sizes(pool)
        assert geometry is not None
        kernel, stride, padding = geometry
        sizes = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
        ctx.geometry = (count, height, width, *sizes, kernel, stride, padding)
        out = torch.empty(
            (count, channels, *sizes), dtype=x.dtype, memory_format=torch.channels_last
        )
        index = torch.empty(out.numel(), dtype=torch.uint8)
        given: dict[str, Tensor | None] = {"output": out}
        own = None
        if norm is not None:
            own = torch.empty(4, channels, dtype=compute_dtype(x.dtype))
            given |= _named(own) | {
                "weight": weight,
                "bias": bias,
                "running_mean": norm.running_mean,
                "running_var": norm.running_var,
            }
        ctx.by_batch = norm is not None and (norm.training or norm.running_mean is None)
        ctx.eps = 0.0 if norm is None else norm.eps
        call = norm_call(x, _ONE_STEP, ctx.by_batch, ctx.eps, momentum, **given)
        _library().spikesight_pool_forward(
            ctypes.byref(_PoolCall(call, index.data_ptr(), *ctx.geometry)), torch.get_num_threads()
        )
        # Without a normalisation the input is of no use to the gradient but for its shape.
        ctx.save_for_backward(index, own, None if norm is None else x)
        ctx.channels = channels
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        index, own, x = ctx.saved_tensors
        count, height, width, *_ = ctx.geometry
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = torch.empty(
            (count, ctx.channels, height, width),
            dtype=grad.dtype,
            memory_format=torch.channels_last,
        )
        given: dict[str, Tensor | None] = {"grad_output": grad, "grad_input": grad_x}
        grad_weight = grad_bias = None
        if own is not None:
            tilt, constant, grad_weight, grad_bias = torch.empty_like(own).unbind()
            given |= _named(own) | {
                "tilt": tilt,
                "constant": constant,
                "grad_weight": grad_weight,
                "grad_bias": grad_bias,
            }
        call = norm_call(grad_x if x is None else x, _ONE_STEP, ctx.by_batch, ctx.eps, 0.0, **given)
        _library().spikesight_pool_backward(
            ctypes.byref(_PoolCall(call, index.data_ptr(), *ctx.geometry)), torch.get_num_threads()
        )
        needed = ctx.needs_input_grad
        return (
            grad_x,
            grad_weight.clone() if grad_weight is not None and needed[1] else None,
            grad_bias.clone() if grad_bias is not None and needed[2] else None,
            None,
            None,
            None,
        )


def _named(own: Tensor) -> dict[str, Tensor | None]:
    return dict(zip(("mean", "inverse_deviation", "gain", "shift"), own.unbind(), strict=True))


@functools.cache
def _library() -> ctypes.CDLL:
    library = ready()
    assert library is not None
    for function in (library.spikesight_pool_forward, library.spikesight_pool_backward):
        function.argtypes = (POINTER(_PoolCall), c_int32)
        function.restype = None
    return library
