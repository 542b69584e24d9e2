"""Synapses whose folded kernels are quantised, as they will be deployed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.synapses.layer_scale import LayerScale
from spikesight.synapses.normalisation import gain_and_shift
from spikesight.synapses.rep_conv import BorderNorm
from spikesight.synapses.synapse import Synapse
from spikesight.synapses.weight_quantizer import WeightQuantizer

_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class FoldedKernel:
    """A kernel with its normalisation in it: weights are whole multiples of `step`.

    Attributes:
        weight: [C_out, C_in / groups, k_h, k_w], or [C_out, C_in] for a linear map.
        step: [C_out], positive.
        bias: [C_out].
        stride: Step of the kernel in pixels.
        padding: Border of zeros in pixels.
        groups: Groups of the convolution.
    """

    weight: Tensor
    step: Tensor
    bias: Tensor
    stride: int
    padding: int
    groups: int

    def __call__(self, x: Tensor) -> Tensor:
        """Current of spikes [N, C_in, H, W] or [N, C_in]."""
        if self.weight.ndim == 2:
            return F.linear(x, self.weight, self.bias)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)


@dataclass(frozen=True)
class _Part:
    """Children that fold into one kernel: convolutions, then normalisations and layer scales."""

    kernel: tuple[nn.Module, ...]
    scalings: tuple[nn.Module, ...]


class QuantizedSynapse(Synapse):
    """A synapse that computes with the very integers that it is deployed with.

    Normalisations and layer scales fold into the kernel before it is quantised, with their running
    statistics, and so does RepConv's chain 1x1 -> norm -> depthwise -> 1x1, which becomes one
    dense kernel of few values. In training the quantised kernel is divided by the folded gain and
    the normalisations after it use the batch's statistics, as usual; the one inside RepConv keeps
    its running statistics. A depthwise and a pointwise convolution in a row stay two kernels.

    A constant current before a normalisation (a convolution's bias, what a silent input gives
    behind RepConv's inner normalisation) is taken out for good: training would move it and never
    feel it, but evaluation would, because a running mean follows late.

    Children and parameters keep the names that they have in the synapse it replaces;
    `quantizers` comes on top.

    Args:
        synapse: The synapse to replace; its children are shared, and lose that constant.
        bits: Bits of a weight, 2 to 8.
        scale_bits: Significant bits of the last kernel's steps, as `WeightQuantizer`; 1 for a
            current that lands on a residual stream. Kernels before it have powers of two.
    """

    def __init__(self, synapse: Synapse, bits: int, scale_bits: int | None) -> None:
        children = OrderedDict(synapse.named_children())
        super().__init__(children)
        parts = _parts(list(children.values()))
        for part in parts:
            _take_out_constant(part)
        self.quantizers = nn.ModuleList()
        for index, part in enumerate(parts):
            with torch.no_grad():
                weight = _kernel(part)[0] * _column(_gain(part)[0], part)
            wanted = scale_bits if index == len(parts) - 1 else 1
            self.quantizers.append(
                WeightQuantizer(weight, bits, scale_bits=wanted, start="least_error")
            )

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C_out, H', W'] (linear: [T*B, C_out]) from spikes."""
        if not self.training:
            for kernel in self.folded():
                x = kernel(x)
            return x
        for part, quantizer in self._quantized_parts():
            weight, bias = _kernel(part)
            gain = _column(_gain(part)[0], part)
            x = _place(part, quantizer(weight * gain) / gain, quantizer.step(), bias)(x)
            for scaling in part.scalings:
                x = scaling(x)
        return x

    def folded(self) -> list[FoldedKernel]:
        """The kernels that evaluation and the graph use, first to last."""
        kernels = []
        for part, quantizer in self._quantized_parts():
            weight, bias = _kernel(part)
            gain, shift = _gain(part)
            quantized = quantizer(weight * _column(gain, part))
            kernels.append(_place(part, quantized, quantizer.step(), bias * gain + shift))
        return kernels

    def _quantized_parts(self) -> list[tuple[_Part, WeightQuantizer]]:
        children = [child for child in self.children() if child is not self.quantizers]
        return list(zip(_parts(children), self.weight_quantizers(), strict=True))

    def weight_quantizers(self) -> list[WeightQuantizer]:
        """The quantisers of the folded kernels, first to last."""
        return [q for q in self.quantizers if isinstance(q, WeightQuantizer)]


def folded_shapes(synapse: Synapse) -> list[tuple[int, ...]]:
    """Shapes of the kernels that `QuantizedSynapse` folds an unquantised synapse into."""
    shapes = []
    for part in _parts(list(synapse.children())):
        first, last = part.kernel[0], part.kernel[-1]
        assert isinstance(last, nn.Conv2d | nn.Linear)
        shape = tuple(last.weight.shape)
        if len(part.kernel) > 1:
            depthwise = part.kernel[2]
            assert isinstance(first, nn.Conv2d)
            assert isinstance(depthwise, nn.Conv2d)
            shape = (shape[0], first.in_channels, *depthwise.kernel_size)
        shapes.append(shape)
    return shapes


def _parts(children: Sequence[nn.Module]) -> list[_Part]:
    parts: list[_Part] = []
    position = 0
    while position < len(children):
        rep_conv = position + 1 < len(children) and isinstance(children[position + 1], BorderNorm)
        end = position + (4 if rep_conv else 1)
        kernel, position = tuple(children[position:end]), end
        while position < len(children) and isinstance(
            children[position], nn.BatchNorm2d | LayerScale
        ):
            position += 1
        parts.append(_Part(kernel, tuple(children[end:position])))
    return parts


def _kernel(part: _Part) -> tuple[Tensor, Tensor]:
    """The kernel and bias before the normalisations that follow."""
    if len(part.kernel) == 1:
        (module,) = part.kernel
        assert isinstance(module, nn.Conv2d | nn.Linear)
        weight: Tensor = module.weight
        return weight, weight.new_zeros(len(weight)) if module.bias is None else module.bias
    reduce, border, depthwise, expand = part.kernel
    assert isinstance(reduce, nn.Conv2d)
    assert isinstance(border, BorderNorm)
    assert isinstance(depthwise, nn.Conv2d)
    assert isinstance(expand, nn.Conv2d)
    gain, shift = gain_and_shift(border.norm)
    matrix = expand.weight.flatten(1)
    middle = depthwise.weight * (reduce.weight * gain.view(-1, 1, 1, 1))
    return torch.einsum("om,mihw->oihw", matrix, middle), matrix @ (
        shift * depthwise.weight.sum((1, 2, 3))
    )


@torch.no_grad()
def _take_out_constant(part: _Part) -> None:
    """Moves a kernel's bias into the mean of the normalisation after it; it stays zero then."""
    if not part.scalings or not isinstance(part.scalings[0], nn.BatchNorm2d):
        return
    mean = part.scalings[0].running_mean
    assert mean is not None
    mean.sub_(_kernel(part)[1])
    for module in part.kernel:
        if isinstance(module, BorderNorm):
            assert module.norm.running_mean is not None
            module.norm.running_mean.zero_()
            module.norm.bias.zero_().requires_grad_(False)
        else:
            assert isinstance(module, nn.Conv2d | nn.Linear)
            if module.bias is not None:
                module.bias.zero_().requires_grad_(False)


def _gain(part: _Part) -> tuple[Tensor, Tensor]:
    """What the normalisations and layer scales multiply [C] and add [C], by running statistics."""
    last = part.kernel[-1]
    assert isinstance(last, nn.Conv2d | nn.Linear)
    gain, shift = last.weight.new_ones(len(last.weight)), last.weight.new_zeros(len(last.weight))
    for scaling in part.scalings:
        if isinstance(scaling, LayerScale):
            gain, shift = gain * scaling.factor, shift * scaling.factor
        else:
            assert isinstance(scaling, nn.BatchNorm2d)
            factor, offset = gain_and_shift(scaling)
            gain, shift = gain * factor, shift * factor + offset
    # Training divides by the gain.
    least = torch.where(gain < 0, -_LEAST_GAIN, _LEAST_GAIN).to(gain.dtype)
    return torch.where(gain.abs() < _LEAST_GAIN, least, gain), shift


def _column(gain: Tensor, part: _Part) -> Tensor:
    return gain.view(-1, 1) if isinstance(part.kernel[-1], nn.Linear) else gain.view(-1, 1, 1, 1)


def _place(part: _Part, weight: Tensor, step: Tensor, bias: Tensor) -> FoldedKernel:
    """A kernel with the stride, padding and groups of the convolution that it stands for."""
    if len(part.kernel) > 1:
        border = part.kernel[1]
        assert isinstance(border, BorderNorm)
        return FoldedKernel(weight, step, bias, 1, border.padding, 1)
    (module,) = part.kernel
    if not isinstance(module, nn.Conv2d):
        return FoldedKernel(weight, step, bias, 1, 0, 1)
    assert isinstance(module.padding, tuple)
    return FoldedKernel(weight, step, bias, module.stride[0], module.padding[0], module.groups)
