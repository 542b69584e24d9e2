"""The integer neuron whose threshold is measured or learned: what a trained ReLU becomes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesight.errors import UserError
from spikesight.neurons import kernels
from spikesight.neurons.firing import fire
from spikesight.neurons.integer_lif import IntegerLIF
from spikesight.neurons.recurrence import Rule, compute_dtype

_LEAST_THRESHOLD = 1e-12
_UNIT_BITS = 20


class CalibratedILIF(IntegerLIF):
    """I-LIF with a threshold of its own: gain * threshold * round(clip(U / threshold, 0, D)).

    With a gain of 1 it has the values of a ReLU up to rounding and to D thresholds, so a network
    keeps its weights when it takes the ReLU's place. The membrane keeps everything from one time
    step to the next unless told otherwise: at T > 1 it starts half charged, as that of
    quantised-clip-floor-shift does (QCFS, arXiv 2303.04347).

    Threshold and gain are 0-d tensors, which are saved with the weights. Where the threshold is
    learned, its gradient is that of LSQ (arXiv 1902.08153 eq. 3), n - X / threshold in the range of
    the levels and D above, scaled by 1 / sqrt(N D), N being the currents of a sample. At T = 1 that
    is activation quantisation; the counts unroll into spikes as those of every integer neuron do.

    Attributes:
        scale: The threshold's parameter or buffer; its magnitude counts, so that it is positive
            whatever an optimiser does.
        gain: What a unit of the membrane is worth on the output edge.

    Args:
        steps: T, time steps per call.
        levels: D, the most spikes per time step.
        threshold: Membrane that one spike stands for, to start with.
        gain: As above, to start with.
        retain: Share of the membrane kept per time step.
        ties: "even" rounds half to even, "up" rounds half up.
        learnable_threshold: Whether the threshold is trained.

    Raises:
        UserError: If an argument is out of range.
    """

    scale: Tensor
    gain: Tensor

    def __init__(
        self,
        steps: int = 1,
        levels: int = 4,
        threshold: float = 1.0,
        gain: float = 1.0,
        retain: float = 1.0,
        ties: Literal["up", "even"] = "even",
        learnable_threshold: bool = False,
    ) -> None:
        super().__init__(steps, levels, 1.0, 1.0, retain, ties)
        if learnable_threshold:
            self.scale = nn.Parameter(torch.ones(()))
        else:
            self.register_buffer("scale", torch.ones(()))
        self.register_buffer("gain", torch.ones(()))
        self._numbers: tuple[Any, ...] = ()
        self.set_threshold(threshold, gain)

    @torch.no_grad()
    def set_threshold(self, threshold: float, gain: float | None = None) -> None:
        """Sets what one spike stands for.

        Args:
            threshold: Membrane of one spike.
            gain: What a unit of membrane is worth on the output edge; as it is if omitted.

        Raises:
            UserError: If one is not positive and finite.
        """
        for name, value in (("threshold", threshold), ("gain", 1.0 if gain is None else gain)):
            if not 0 < value < math.inf:
                raise UserError(f"{name} must be positive and finite, got {value}")
        self.scale.fill_(threshold)
        if gain is not None:
            self.gain.fill_(gain)

    def stop_learning(self) -> None:
        """Keeps the threshold from being learned; it is saved under the same name."""
        scale = self.scale.detach()
        if isinstance(self.scale, nn.Parameter):
            del self.scale
            self.register_buffer("scale", scale)

    @property
    def rule(self) -> Rule:
        """The neuron's equations and gradients, with the numbers that it has now."""
        if self.scale.is_meta:
            return self._rule
        threshold = max(abs(self.scale.detach().item()), _LEAST_THRESHOLD)
        unit = _shortened(self.gain.item() * threshold)
        known = (self._rule, threshold, unit)
        if self._numbers[:3] != known:
            dynamics = replace(self._rule.dynamics, threshold=threshold, unit=unit)
            self._numbers = (*known, replace(self._rule, dynamics=dynamics))
        rule: Rule = self._numbers[3]
        return rule

    def learned_threshold(self, currents: int) -> Tensor | None:
        """The threshold as a 0-d tensor where a gradient is wanted of it, else None.

        Args:
            currents: N, currents of one sample, by which its gradient is scaled.
        """
        if not (torch.is_grad_enabled() and self.scale.requires_grad):
            return None
        threshold = self._threshold()
        share = 1 / math.sqrt(max(currents, 1) * self.levels)
        return threshold.detach() + (threshold - threshold.detach()) * share

    def _threshold(self) -> Tensor:
        return self.scale.abs().clamp_min(_LEAST_THRESHOLD)

    def _fire(
        self, current: Tensor, membrane: Tensor | None, want_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        threshold = self.learned_threshold(current[0].numel())
        # Native kernels take a rule's numbers, others would be compiled for each; to read them off
        # their tensors would also make a GPU wait. There the tensors divide and multiply.
        if torch.compiler.is_compiling() or not kernels.takes_native(current, self._rule):
            chosen = self._threshold() if threshold is None else threshold
            return self._fire_scaled(current, membrane, chosen, want_state)
        if threshold is None:
            return super()._fire(current, membrane, want_state)
        membrane = None if membrane is None else share_gradient(membrane, threshold, -1)
        current = share_gradient(current, threshold, -1)
        spikes, state = super()._fire(current, membrane, want_state)
        state = None if state is None else share_gradient(state, threshold, 1)
        return share_gradient(spikes, threshold, 1), state

    def _fire_scaled(
        self, current: Tensor, membrane: Tensor | None, threshold: Tensor, want_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        self._check(current, membrane)
        wide = compute_dtype(current.dtype)
        membrane = None if membrane is None else membrane.to(wide) / threshold
        spikes, state = fire(current.to(wide) / threshold, self._rule, membrane, None, want_state)
        spikes = (spikes * (threshold * self.gain)).to(current.dtype)
        return spikes, None if state is None else state * threshold


def _shortened(value: float) -> float:
    """A product of rounded numbers to 20 bits: x times what float32 has of 1 / x is 1."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, _UNIT_BITS)), exponent - _UNIT_BITS)


def share_gradient(tensor: Tensor, threshold: Tensor, sign: int) -> Tensor:
    """The tensor itself, whose product with its gradient, over the threshold, goes there too.

    A neuron's output is homogeneous: c times the currents and the threshold give c times the
    output. So by Euler the threshold's gradient, times the threshold, is that of the output times
    the output less that of the input times the input, and no kernel has to know of it.

    Args:
        tensor: What a neuron reads, or its output.
        threshold: A 0-d tensor.
        sign: -1 for what it reads, 1 for its output.
    """
    shared: Tensor = _SharedGradient.apply(tensor, threshold, sign)
    return shared


class _SharedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, threshold: Tensor, sign: int) -> Tensor:
        ctx.save_for_backward(tensor, threshold)
        ctx.sign = sign
        return tensor.view_as(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        tensor, threshold = ctx.saved_tensors
        product = (grad * tensor).sum(dtype=threshold.dtype)
        return grad, ctx.sign * product / threshold, None
