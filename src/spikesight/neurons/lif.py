"""The binary leaky integrate-and-fire neuron."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.neurons.dynamics import Dynamics
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.recurrence import Rule
from spikesight.neurons.surrogate import Surrogate, find_surrogate


class LIF(Neuron):
    """The binary leaky integrate-and-fire neuron (QSD-Transformer eqs. 1-3).

    U = V + (X - V) / tau, s = (U >= threshold), V = U * (1 - s); with ``decay_input=False``
    U = (1 - 1 / tau) * V + X, with ``reset="soft"`` V = U - threshold * s. The defaults are those
    of Spikformer and Meta-SpikeFormer.

    Args:
        steps: T, time steps per call.
        tau: Membrane time constant in time steps, at least 1; where it is learned, more than 1.
        threshold: Potential at which the neuron fires.
        reset: "hard" (to zero) or "soft" (by the threshold).
        decay_input: Whether the current is divided by tau.
        surrogate: "sigmoid", "rectangular", "arctan" or a `Surrogate` of another shape.
        detach_reset: Whether the reset passes no gradient.
        learnable_tau: Whether 1 / tau is trained, as the sigmoid of the parameter `decay`.

    Raises:
        UserError: If an argument is out of range or the surrogate is unknown.
    """

    def __init__(
        self,
        steps: int = 1,
        tau: float = 2.0,
        threshold: float = 1.0,
        reset: Literal["soft", "hard"] = "hard",
        decay_input: bool = True,
        surrogate: str | Surrogate = "sigmoid",
        detach_reset: bool = True,
        learnable_tau: bool = False,
    ) -> None:
        if tau < 1 or (learnable_tau and tau == 1):
            bound = "more than 1 to be learned" if learnable_tau else "at least 1"
            raise UserError(f"tau must be {bound}, got {tau}; pass tau=2.0")
        dynamics = Dynamics(
            steps=steps,
            levels=1,
            threshold=threshold,
            offset=1.0,
            retain=1 - 1 / tau,
            decay_input=decay_input,
            reset=reset,
            ties="up",
        )
        if isinstance(surrogate, str):
            surrogate = find_surrogate(surrogate)
        super().__init__(Rule(dynamics, surrogate, detach_reset))
        self.decay = nn.Parameter(torch.tensor(-math.log(tau - 1))) if learnable_tau else None

    def learned_retain(self) -> Tensor | None:
        """Returns 1 - 1 / tau as a 0-d tensor where tau is learned, else None."""
        if self.decay is None:
            return None
        # Double precision, so that 1 - retain is the same number here and in `dynamics`.
        exact = self.decay if self.decay.device.type == "mps" else self.decay.double()
        return 1 - torch.sigmoid(exact)
