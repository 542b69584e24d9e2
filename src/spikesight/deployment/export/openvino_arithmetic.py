"""Exact arithmetic with OpenVINO's operators, on floats and on pairs of floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DIGIT_BITS = 12
DIGIT = 2**DIGIT_BITS

Float = Any  # An output of an OpenVINO operator, float32.


@dataclass(frozen=True)
class Pair:
    """An integer of up to 32 bits, high * 2^12 + low with 0 <= low < 2^12."""

    high: Float
    low: Float


Value = Float | Pair


class Arithmetic:
    """Exact operations on floats, which stay below 2^24, and on pairs.

    Constants are integers, [1] or shaped like a channel of the value.
    """

    def __init__(self) -> None:
        from openvino import opset13

        self.op: Any = opset13

    def constant(self, values: Tensor | float) -> Float:
        """A float32 constant."""
        return self.op.constant(torch.as_tensor(values).to(torch.float32).contiguous().numpy())

    def pair(self, x: Value) -> Pair:
        """The value as a pair."""
        return x if isinstance(x, Pair) else self._carried(self.constant(0.0), x)

    def number(self, x: Pair) -> Float:
        """The float of a pair that is below 2^24."""
        return self.op.add(self.op.multiply(x.high, self.constant(DIGIT)), x.low)

    def sum(self, x: Value, y: Value) -> Value:
        """The sum of two values."""
        if isinstance(x, Pair) or isinstance(y, Pair):
            x, y = self.pair(x), self.pair(y)
            return self._carried(self.op.add(x.high, y.high), self.op.add(x.low, y.low))
        return self.op.add(x, y)

    def plus(self, x: Value, values: Tensor) -> Value:
        """A value plus constants."""
        if not bool(values.any()):
            return x
        if isinstance(x, Pair):
            high, low = self._digits(values)
            return self._carried(self.op.add(x.high, high), self.op.add(x.low, low))
        return self.op.add(x, self.constant(values))

    def shifted_left(self, x: Value, bits: Tensor) -> Value:
        """A value times 2^bits."""
        if not bool(bits.any()):
            return x
        factor = self.constant(torch.exp2(bits.double()))
        if isinstance(x, Pair):
            return self._carried(self.op.multiply(x.high, factor), self.op.multiply(x.low, factor))
        return self.op.multiply(x, factor)

    def shifted_right(self, x: Value, bits: Tensor) -> Value:
        """Rounds down."""
        if not bool(bits.any()):
            return x
        if not isinstance(x, Pair):
            return self._floor_of(x, bits)
        now = bits.clamp(max=DIGIT_BITS)
        high = self._floor_of(x.high, now)
        rest = self.op.subtract(x.high, self.shifted_left(high, now))
        low = self.op.add(self.shifted_left(rest, DIGIT_BITS - now), self._floor_of(x.low, now))
        return self.shifted_right(Pair(high, low), bits - now)

    def difference(self, x: Value, y: Value) -> Value:
        """The first value less the second, both floats or both pairs."""
        if isinstance(x, Pair) and isinstance(y, Pair):
            low = self.op.subtract(x.low, y.low)
            return self._carried(self.op.subtract(x.high, y.high), low)
        return self.op.subtract(x, y)

    def minus(self, x: Value, count: Float, values: Tensor) -> Value:
        """Subtracts count * values, for counts of at most 255."""
        if isinstance(x, Pair):
            high, low = (self.op.multiply(count, digit) for digit in self._digits(values))
            return self._carried(self.op.subtract(x.high, high), self.op.subtract(x.low, low))
        return self.op.subtract(x, self.op.multiply(count, self.constant(values)))

    def reached(self, x: Value, thresholds: Tensor) -> Float:
        """1 where x >= thresholds and 0 elsewhere."""
        if isinstance(x, Pair):
            high, low = self._digits(thresholds - 1)
            # Where the high digits differ they outweigh the low ones, whatever the sum rounds to.
            above = self.op.multiply(self.op.subtract(x.high, high), self.constant(DIGIT))
            distance = self.op.add(above, self.op.subtract(x.low, low))
        else:
            distance = self.op.subtract(x, self.constant(thresholds - 1))
        return self.op.clamp(distance, 0.0, 1.0)

    def masked(self, x: Value, mask: Float) -> Value:
        """A value where the mask is 1, and 0 where it is 0."""
        if isinstance(x, Pair):
            return Pair(self.op.multiply(x.high, mask), self.op.multiply(x.low, mask))
        return self.op.multiply(x, mask)

    def pooled(self, x: Value) -> Value:
        """The sum over the pixels, of which there may be 2^12."""
        if isinstance(x, Pair):
            return self._carried(self.pooled(x.high), self.pooled(x.low))
        return self.op.reduce_sum(x, integers(2, 3), False)

    def sixteen_times_doubled(self, x: Value, channels: int, size: tuple[int, ...]) -> Value:
        """Maps [N, C, H, W] at twice the height and width, bilinearly, times 16."""
        if isinstance(x, Pair):
            digits = (self.sixteen_times_doubled(d, channels, size) for d in (x.high, x.low))
            return self._carried(*digits)
        height, width = size
        x = self._four_times_doubled(x, 3, width, (channels, height, 2 * width))
        return self._four_times_doubled(x, 2, height, (channels, 2 * height, 2 * width))

    def _four_times_doubled(
        self, x: Float, axis: int, length: int, shape: tuple[int, int, int]
    ) -> Float:
        """A pixel is once its neighbour and thrice the nearest; the border stands beside itself."""

        def part(start: int, stop: int) -> Float:
            ends = [integers(value) for value in (start, stop, 1, axis)]
            return self.op.slice(x, *ends)

        before = after = x
        if length > 1:
            before = self.op.concat([part(0, 1), part(0, length - 1)], axis)
            after = self.op.concat([part(1, length), part(length - 1, length)], axis)
        thrice = self.op.multiply(x, self.constant(3.0))
        pair = [self.op.add(before, thrice), self.op.add(thrice, after)]
        place = integers(axis + 1)
        beside = self.op.concat([self.op.unsqueeze(half, place) for half in pair], axis + 1)
        return self.op.reshape(beside, integers(0, *shape), True)

    def split(self, x: Value, parts: int) -> list[Value]:
        """Equal parts along the batch."""
        if isinstance(x, Pair):
            digits = (self.split(x.high, parts), self.split(x.low, parts))
            return [Pair(high, low) for high, low in zip(*digits, strict=True)]
        axis = self.op.constant(np.array(0, np.int64))
        return list(self.op.split(x, axis, parts).outputs())

    def _floor_of(self, x: Float, bits: Tensor) -> Float:
        return self.op.floor(self.op.multiply(x, self.constant(torch.exp2(-bits.double()))))

    def _carried(self, high: Float, low: Float) -> Pair:
        carry = self._floor_of(low, torch.tensor(DIGIT_BITS))
        rest = self.op.subtract(low, self.op.multiply(carry, self.constant(DIGIT)))
        return Pair(self.op.add(high, carry), rest)

    def _digits(self, values: Tensor) -> tuple[Float, Float]:
        return self.constant(values >> DIGIT_BITS), self.constant(values & (DIGIT - 1))


def integers(*values: int) -> npt.NDArray[np.generic]:
    """A constant int64 vector, as shapes and axes are."""
    return np.array(values, np.int64)
