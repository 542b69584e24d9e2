"""A synapse's weights as integers: those that training made, or rounded ones.

Nothing here depends on the grid of the residual streams, so that a pass that tries several grids
rounds and proves each synapse once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.graph import Affine, integer_vocabulary as integer
from spikesight.passes.fixed_point import (
    GAIN_BITS,
    are_powers_of_two,
    largest_weight,
    peaks,
    quantise,
    round_up_short,
)
from spikesight.passes.ranges import EXACT_IN_FLOAT32, accumulator, by_group, for_each_weight

# So much room in float32 a gain leaves to an accumulator.
GAIN_ROOM = EXACT_IN_FLOAT32 // 4
_MOST_BITS = 8


@dataclass(frozen=True)
class Source:
    """What a synapse reads.

    Attributes:
        name: The node that gives it.
        unit: Real value of one unit.
        interval: The integers that it can reach.
        weight_bits: Bits that a rounded weight has.
    """

    name: str
    unit: float
    interval: integer.Interval
    weight_bits: int

    def is_as(self, other: Source) -> bool:
        """Whether a synapse that reads the other is rounded like one that reads this."""
        own, others = self.interval, other.interval
        return (
            (self.unit, self.weight_bits, own.magnitude)
            == (other.unit, other.weight_bits, others.magnitude)
            and torch.equal(own.low, others.low)
            and torch.equal(own.high, others.high)
        )


@dataclass(frozen=True)
class RoundedSynapse:
    """A synapse with integer weights.

    Attributes:
        node: The synapse without shift and bias.
        scale: Real value of one unit of its sum, [C_out].
        bias: Real bias, [C_out], with what rounding the weights takes from the mean current.
        accumulated: What its sum can reach.
    """

    node: integer.Synapse
    scale: Tensor
    bias: Tensor
    accumulated: integer.Interval


class WeightRounding:
    """Rounds the weights of synapses, of each once.

    Args:
        mean_inputs: Mean [C] of what synapses read, by name, as of `Calibration`.
    """

    def __init__(self, mean_inputs: Mapping[str, Tensor]) -> None:
        self._mean_inputs = mean_inputs
        self._rounded: dict[str, tuple[Source, RoundedSynapse]] = {}

    def for_neurons(self, name: str, source: Source, factor: Affine) -> RoundedSynapse:
        """A synapse that neurons alone read.

        Scales are short multiples of a power of two, as float32 multiplies without error.

        Args:
            name: The synapse's name.
            source: What it reads.
            factor: Its real weights.
        """
        return self._once(name, source, lambda: self._for_neurons(name, source, factor))

    def for_stream(self, name: str, source: Source, factor: Affine) -> RoundedSynapse:
        """A synapse into a residual stream: scales are powers of two; arguments as before."""
        return self._once(name, source, lambda: self._for_stream(name, source, factor))

    def _once(
        self, name: str, source: Source, rounded: Callable[[], RoundedSynapse]
    ) -> RoundedSynapse:
        known = self._rounded.get(name)
        if known is None or not known[0].is_as(source):
            known = self._rounded[name] = (source, rounded())
        return known[1]

    def _for_neurons(self, name: str, source: Source, factor: Affine) -> RoundedSynapse:
        trained = trained_weights(factor)
        if trained is not None:
            node = _synapse(name, source.name, factor, trained.weight, trained.bits)
            scale = trained.step * source.unit
            total = accumulator(node, source.interval)
        else:
            node, scale, total = _rounded_for_gain(name, source, factor)
        mean_input = self._mean_inputs.get(source.name)
        bias = corrected_bias(factor, node.weight, scale / source.unit, mean_input)
        return RoundedSynapse(node, scale, bias, total)

    def _for_stream(self, name: str, source: Source, factor: Affine) -> RoundedSynapse:
        trained = trained_weights(factor)
        if trained is not None and are_powers_of_two(trained.step):
            scale, weight, bits = trained.step, trained.weight, trained.bits
        else:
            bits = source.weight_bits
            peak = peaks(factor.weight) / largest_weight(bits)
            scale = torch.exp2(torch.log2(peak).ceil())
            weight = quantise(factor.weight, scale, bits)
        node = _synapse(name, source.name, factor, weight, bits)
        bias = corrected_bias(factor, weight, scale, self._mean_inputs.get(source.name))
        total = accumulator(node, source.interval)
        return RoundedSynapse(node, scale * source.unit, bias, total)


def _rounded_for_gain(
    name: str, source: Source, factor: Affine
) -> tuple[integer.Synapse, Tensor, integer.Interval]:
    """Weights at the longest gains that leave the sum room in float32, or at gains of one bit."""
    bits = source.weight_bits
    weight = factor.weight * source.unit
    peak = peaks(weight) / largest_weight(bits)
    real, half = _reaches_of(weight, factor.groups, source.interval)
    for gain_bits in range(GAIN_BITS, 1, -1):
        scale = round_up_short(peak, gain_bits)
        # Rounding takes at most a half from a weight, and float64 far less than a millionth from
        # this bound: such scales need not be tried.
        least = float((real / scale * (1 - 1e-6) - half).max())
        if least * 2**gain_bits >= GAIN_ROOM:
            continue
        node = _synapse(name, source.name, factor, quantise(weight, scale, bits), bits)
        total = accumulator(node, source.interval)
        if total.magnitude << gain_bits < GAIN_ROOM:
            return node, scale, total
    scale = round_up_short(peak, 1)
    node = _synapse(name, source.name, factor, quantise(weight, scale, bits), bits)
    return node, scale, accumulator(node, source.interval)


def _reaches_of(weight: Tensor, groups: int, source: integer.Interval) -> tuple[Tensor, Tensor]:
    """Largest magnitudes [C_out] of the sum with real weights, and with a half for each weight."""
    size = torch.maximum(source.low.abs(), source.high.abs()).to(weight)
    column = for_each_weight(size, weight, groups)
    matrices = by_group(weight, groups)
    half = (column.sum(1, keepdim=True) / 2).expand(-1, matrices.shape[1], -1)
    return (matrices.abs() @ column).flatten(), half.flatten()


def _synapse(name: str, source: str, factor: Affine, weight: Tensor, bits: int) -> integer.Synapse:
    zeros = torch.zeros(weight.shape[0], dtype=torch.int64)
    return integer.Synapse(
        name,
        (source,),
        weight=weight,
        bits=bits,
        stride=factor.stride,
        padding=factor.padding,
        groups=factor.groups,
        shift=zeros,
        bias=zeros,
    )


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
