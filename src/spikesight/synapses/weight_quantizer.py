"""Low-bit weights with learned scales (LSQ)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spikesight.errors import UserError

_LEAST_STEP = 1e-12
_FINER_STEPS = [2.0 ** (-i / 4) for i in range(-1, 12)]


class WeightQuantizer(nn.Module):
    """Rounds weights to b-bit integers times a learned step per output channel.

    w_q = round(clip(w / a, -2^(b-1), 2^(b-1) - 1)) * a (QSD-Transformer eqs. 4-5, LSQ). Rounding
    passes gradients straight through; a clipped weight gets none. The step a is the magnitude of
    the parameter `scale`, so it is positive whatever the optimiser does, and its gradient is
    scaled by 1 / sqrt(numel(w) * (2^(b-1) - 1)).

    Attributes:
        scale: The learned parameter [C_out].

    Args:
        weight: The weights [C_out, ...] that the steps start from.
        bits: Bits b of a weight, 2 to 8.
        scale_bits: Significant bits to which the step is rounded, straight through: 1 makes it a
            power of two, None leaves it as it is.
        start: "lsq" starts every channel at 2 mean|w| / sqrt(2^(b-1) - 1) over the whole tensor;
            "least_error" searches the step of the least squared error for each channel.

    Raises:
        UserError: If `bits` is out of range or a weight is not finite.
    """

    def __init__(
        self,
        weight: Tensor,
        bits: int,
        *,
        scale_bits: int | None = None,
        start: str = "lsq",
    ) -> None:
        super().__init__()
        if not 2 <= bits <= 8:
            raise UserError(f"bits is {bits}; pass 2 to 8")
        if not weight.isfinite().all():
            raise UserError(
                f"a weight {tuple(weight.shape)} is not finite, so it has no scale; load weights "
                "that are"
            )
        assert start in ("lsq", "least_error")
        self.bits = bits
        self.scale_bits = scale_bits
        self.gradient_scale = 1 / math.sqrt(max(weight.numel(), 1) * self.highest)
        weight = weight.detach()
        initial = self._lsq_start(weight) if start == "lsq" else self._least_error_start(weight)
        self.scale = nn.Parameter(initial)

    @property
    def lowest(self) -> int:
        """The smallest integer."""
        return int(-(2 ** (self.bits - 1)))

    @property
    def highest(self) -> int:
        """The largest integer."""
        return int(2 ** (self.bits - 1) - 1)

    def step(self) -> Tensor:
        """The distance [C_out] of two weights, positive."""
        return self._shorten(self.scale.abs().clamp_min(_LEAST_STEP))

    def forward(self, weight: Tensor) -> Tensor:
        """The quantised weights, in the shape [C_out, ...] of `weight`."""
        step = self.step()
        step = step.detach() + (step - step.detach()) * self.gradient_scale
        return self._round(weight, step)

    def extra_repr(self) -> str:
        """Bits."""
        return f"bits={self.bits}, scale_bits={self.scale_bits}"

    def _round(self, weight: Tensor, step: Tensor) -> Tensor:
        step = step.view(-1, *[1] * (weight.ndim - 1))
        level = (weight / step).clamp(self.lowest, self.highest)
        rounded: Tensor = (level + (level.round() - level).detach()) * step
        return rounded

    def _shorten(self, step: Tensor) -> Tensor:
        if self.scale_bits is None:
            return step
        _, exponent = torch.frexp(step.detach())
        grid = torch.ldexp(torch.ones_like(step), exponent - self.scale_bits)
        return step + ((step / grid).round() * grid - step).detach()

    def _lsq_start(self, weight: Tensor) -> Tensor:
        step: Tensor = 2 * weight.abs().mean() / math.sqrt(self.highest)
        start: Tensor = torch.where(step > 0, step, 1.0).expand(len(weight)).clone()
        return start

    def _least_error_start(self, weight: Tensor) -> Tensor:
        flat = weight.flatten(1)
        peak = flat.abs().amax(1)
        largest = torch.where(peak > 0, peak, 1.0) / self.highest
        best, least = largest, torch.full_like(peak, math.inf)
        for factor in _FINER_STEPS:
            step = self._shorten(largest * factor)
            error = (self._round(flat, step) - flat).square().sum(1)
            best, least = torch.where(error < least, step, best), torch.minimum(error, least)
        return best


class QuantizedConv2d(nn.Conv2d):
    """A convolution that computes with quantised weights.

    It shares the parameters of the convolution that it replaces, under the same names.

    Args:
        conv: The convolution.
        bits: Bits of a weight, 2 to 8.
        scale_bits: As `WeightQuantizer`.
    """

    def __init__(self, conv: nn.Conv2d, bits: int, scale_bits: int | None = None) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.quantizer = WeightQuantizer(conv.weight, bits, scale_bits=scale_bits)

    def forward(self, x: Tensor) -> Tensor:
        """Current [N, C_out, H', W'] from spikes [N, C_in, H, W]."""
        current: Tensor = self._conv_forward(x, self.quantizer(self.weight), self.bias)
        return current


class QuantizedLinear(nn.Linear):
    """A linear map that computes with quantised weights.

    It shares the parameters of the map that it replaces, under the same names.

    Args:
        linear: The linear map.
        bits: Bits of a weight, 2 to 8.
        scale_bits: As `WeightQuantizer`.
    """

    def __init__(self, linear: nn.Linear, bits: int, scale_bits: int | None = None) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.quantizer = WeightQuantizer(linear.weight, bits, scale_bits=scale_bits)

    def forward(self, x: Tensor) -> Tensor:
        """Current [N, C_out] from spikes [N, C_in]."""
        return nn.functional.linear(x, self.quantizer(self.weight), self.bias)
