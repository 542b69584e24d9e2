"""Synapses as they are shipped: low-bit integers, steps and biases, nothing to train."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.synapses.bit_packing import pack, unpack
from spikesight.synapses.quantized_synapse import FoldedKernel, QuantizedSynapse
from spikesight.synapses.synapse import Synapse


class PackedKernel(nn.Module):
    """One folded kernel: integers of a few bits times a step per channel, and a bias.

    Attributes:
        integers: [C_out, C_in / groups, k_h, k_w] or [C_out, C_in], int8.
        step: [C_out], positive.
        bias: [C_out].
        bits: Bits of an integer, 2 to 8.

    Args:
        kernel: The kernel, whose weights are whole multiples of its steps.
        bits: Bits that hold them.
    """

    integers: Tensor
    step: Tensor
    bias: Tensor

    def __init__(self, kernel: FoldedKernel, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.stride, self.padding, self.groups = kernel.stride, kernel.padding, kernel.groups
        column = kernel.step.view(-1, *[1] * (kernel.weight.ndim - 1))
        integers = (kernel.weight / column).round().to(torch.int8)
        self.register_buffer("integers", integers.detach())
        self.register_buffer("step", kernel.step.detach().clone())
        self.register_buffer("bias", kernel.bias.detach().clone())

    def unpacked(self) -> FoldedKernel:
        """The kernel in floating point."""
        column = self.step.view(-1, *[1] * (self.integers.ndim - 1))
        weight = self.integers.to(self.step.dtype) * column
        return FoldedKernel(weight, self.step, self.bias, self.stride, self.padding, self.groups)


class PackedSynapse(Synapse):
    """A quantised synapse without what training needs; its function is the one in evaluation.

    Args:
        synapse: A quantised synapse; it is not changed.
    """

    def __init__(self, synapse: QuantizedSynapse) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(
            PackedKernel(kernel, quantizer.bits)
            for kernel, quantizer in zip(synapse.folded(), synapse.weight_quantizers(), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C_out, H', W'] (linear: [T*B, C_out]) from spikes."""
        for kernel in self.folded():
            x = kernel(x)
        return x

    def folded(self) -> list[FoldedKernel]:
        """The kernels, first to last."""
        return [k.unpacked() for k in self.kernels if isinstance(k, PackedKernel)]


def pack_synapses(model: nn.Module) -> None:
    """Replaces every quantised synapse of a model by its packed form, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, QuantizedSynapse):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, PackedSynapse(module))


def packed_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model of packed synapses, its integers without gaps between their bits."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name, kernel in _kernels(model).items():
        tensors[f"{name}.integers"] = pack(kernel.integers, kernel.bits)
    return tensors


def unpacked_tensors(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model of packed synapses from what `packed_tensors` gave.

    Args:
        model: A model of packed synapses.
        tensors: Name to tensor.

    Raises:
        UserError: If the integers do not fit the model.
    """
    tensors = dict(tensors)
    for name, kernel in _kernels(model).items():
        packed = tensors.get(f"{name}.integers")
        if packed is None:
            raise UserError(f"{name}.integers is missing")
        shape = kernel.integers.shape
        try:
            values = unpack(packed, kernel.bits, math.prod(shape))
        except UserError as error:
            raise UserError(f"{name}.integers: {error}") from None
        tensors[f"{name}.integers"] = values.view(shape)
    return tensors


def _kernels(model: nn.Module) -> dict[str, PackedKernel]:
    return {n: m for n, m in model.named_modules() if isinstance(m, PackedKernel)}
