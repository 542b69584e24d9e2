"""A batch normalisation and the neuron behind it by the native kernels, in one pass.

The normalised current is neither stored nor kept for the backward pass, which computes it again
from what the normalisation read.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_double, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesight.neurons import kernels
from spikesight.neurons.calibrated_i_lif import share_gradient
from spikesight.neurons.native import STORAGE, NeuronRule, address, ready, said
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.recurrence import Rule, compute_dtype

# Rows are whole vectors of every instruction set.
_CHANNELS = 16
_TENSORS = (
    *("input", "grad_output", "output", "grad_input", "weight", "bias", "running_mean"),
    *("running_var", "mean", "inverse_deviation", "gain", "shift", "tilt", "constant"),
    *("grad_weight", "grad_bias"),
)


class NormCall(ctypes.Structure):
    """`NormCall` of native/training/neuron_rule.hpp."""

    _fields_ = (
        ("rule", POINTER(NeuronRule)),
        *((name, c_void_p) for name in _TENSORS),
        *((name, c_double) for name in ("eps", "momentum")),
        *((name, c_int64) for name in ("rows", "channels")),
        *((name, c_int32) for name in ("storage", "by_batch")),
    )


def fire_normalised(x: Tensor, norm: nn.BatchNorm2d, neuron: Neuron) -> Tensor:
    """Computes ``neuron(norm(x))``, in one pass where the native kernels can.

    They take channels-last inputs with gradients or in training; everything else goes through the
    two modules. The spikes differ from theirs by the rounding of the normalisation alone.

    Args:
        x: Shape [T*B, C, H, W].
        norm: A batch normalisation.
        neuron: A spiking neuron that starts from rest.
    """
    if not _serves(x, norm, neuron):
        spikes: Tensor = type(neuron).forward(neuron, norm(x))
        return spikes
    momentum = count_batch(norm)
    weight: Tensor = norm.weight
    bias: Tensor = norm.bias
    threshold = neuron.learned_threshold(x[0].numel())
    if threshold is not None:  # of the current only these two have to do with it
        weight, bias = (share_gradient(part, threshold, -1) for part in (weight, bias))
    fired: Tensor = _NormFiring.apply(x, weight, bias, norm, momentum, neuron.rule)
    return fired if threshold is None else share_gradient(fired, threshold, 1)


def _serves(x: Tensor, norm: nn.BatchNorm2d, neuron: Neuron) -> bool:
    return (
        (norm.training or (torch.is_grad_enabled() and norm.running_mean is not None))
        and suits_rows(x, norm)
        and x.shape[0] % neuron.steps == 0
        and kernels.takes_native(x, neuron.rule)
        and neuron.learned_retain() is None
        and (norm.affine or neuron.learned_threshold(1) is None)
    )


def suits_rows(x: Tensor, norm: nn.BatchNorm2d | None) -> bool:
    """Says whether maps are rows of whole vectors, and a normalisation of a fitting dtype."""
    wide = compute_dtype(x.dtype)
    own = () if norm is None else (norm.weight, norm.running_mean)
    return (
        x.ndim == 4
        and x.shape[1] % _CHANNELS == 0
        and x.numel() > x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
        and all(tensor is None or tensor.dtype == wide for tensor in own)
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
    )


def count_batch(norm: nn.BatchNorm2d) -> float:
    """Counts a batch that a normalisation sees; returns the share that it has in the statistics."""
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            return 1.0 / float(norm.num_batches_tracked)
    return 0.0 if norm.momentum is None else norm.momentum


class _NormFiring(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        norm: nn.BatchNorm2d,
        momentum: float,
        rule: Rule,
    ) -> Tensor:
        by_batch = norm.training or norm.running_mean is None
        spikes = torch.empty_like(x)
        own = torch.empty(4, x.shape[1], dtype=compute_dtype(x.dtype))
        mean, inverse, gain, shift = own.unbind()
        call = norm_call(
            x, rule, by_batch, norm.eps, momentum,
            output=spikes, weight=weight, bias=bias, mean=mean, inverse_deviation=inverse,
            gain=gain, shift=shift, running_mean=norm.running_mean,
            running_var=norm.running_var,
        )  # fmt: skip
        _ready().spikesight_norm_forward(ctypes.byref(call), torch.get_num_threads())
        ctx.save_for_backward(x, own)
        ctx.rule, ctx.by_batch, ctx.eps = rule, by_batch, norm.eps
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, own = ctx.saved_tensors
        mean, inverse, gain, shift = own.unbind()
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = torch.empty_like(x)
        tilt, constant, grad_weight, grad_bias = torch.empty_like(own).unbind()
        call = norm_call(
            x, ctx.rule, ctx.by_batch, ctx.eps, 0.0,
            grad_output=grad, grad_input=grad_x, mean=mean, inverse_deviation=inverse, gain=gain,
            shift=shift, tilt=tilt, constant=constant, grad_weight=grad_weight,
            grad_bias=grad_bias,
        )  # fmt: skip
        _ready().spikesight_norm_backward(ctypes.byref(call), torch.get_num_threads())
        needed = ctx.needs_input_grad
        return (
            grad_x,
            grad_weight.clone() if needed[1] else None,
            grad_bias.clone() if needed[2] else None,
            None,
            None,
            None,
        )


def norm_call(
    x: Tensor, rule: Rule, by_batch: bool, eps: float, momentum: float, **tensors: Tensor | None
) -> NormCall:
    """A call of the kernels for maps x [steps * B, C, H, W], with its other tensors by name."""
    count, channels, height, width = x.shape
    return NormCall(
        rule=said(rule, None),
        input=x.data_ptr(),
        eps=eps,
        momentum=momentum,
        rows=count // rule.dynamics.steps * height * width,
        channels=channels,
        storage=STORAGE[x.dtype],
        by_batch=by_batch,
        **{name: address(tensor) for name, tensor in tensors.items()},
    )


@functools.cache
def _ready() -> ctypes.CDLL:
    library = ready()
    assert library is not None
    for function in (library.spikesight_norm_forward, library.spikesight_norm_backward):
        function.argtypes = (POINTER(NormCall), c_int32)
        function.restype = None
    return library
