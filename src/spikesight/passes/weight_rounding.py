"""A synapse's weights as integers: those that training made, and what rounding others costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.graph import Affine

_MOST_BITS = 8


@dataclass(frozen=True)
class TrainedWeights:
    """Weights as training quantised them.

    Attributes:
        weight: Integers.
        bits: The bits that they need.
        step: Quantisation steps [C_out].
    """

    weight: Tensor
    bits: int
    step: Tensor


def trained_weights(factor: Affine) -> TrainedWeights | None:
    """The integers of training; None where it had none, or they need more than 8 bits."""
    if factor.step is None:
        return None
    step = torch.where(factor.step > 0, factor.step, 1.0)
    integers = (factor.weight / step.view(-1, *[1] * (factor.weight.ndim - 1))).round()
    # A negative gain turns -8 into 8, which takes a bit more.
    largest = max(-int(integers.min()) - 1, int(integers.max()), 1)
    bits = largest.bit_length() + 1
    return TrainedWeights(integers.to(torch.int8), bits, step) if bits <= _MOST_BITS else None


def corrected_bias(
    factor: Affine, rounded: Tensor, scale: Tensor, mean_input: Tensor | None
) -> Tensor:
    """The real bias, and what rounding the weights takes from the mean current.

    Args:
        factor: The synapse's real weights and bias.
        rounded: Its integers.
        scale: What one of them is worth, [C_out].
        mean_input: Mean of each input channel in calibration; None corrects nothing.

    Returns:
        [C_out].
    """
    weight = factor.weight
    bias = weight.new_zeros(len(weight)) if factor.bias is None else factor.bias
    if mean_input is None:
        return bias
    error = weight - rounded * scale.view(-1, *[1] * (weight.ndim - 1))
    per_input = error.flatten(2).sum(2) if weight.ndim > 2 else error
    inputs = mean_input.to(weight).view(factor.groups, 1, -1)
    lost: Tensor = (per_input.unflatten(0, (factor.groups, -1)) * inputs).sum(2)
    return bias + lost.flatten()
