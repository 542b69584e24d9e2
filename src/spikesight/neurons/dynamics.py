"""The equations of a spiking neuron, as pure functions on tensors.

Nothing here knows about gradients, modules or devices. The neuron modules, the binary unrolling
and the integer network all compute with these functions, which is why they agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.options import AS_ARGUMENT, check_options


@dataclass(frozen=True)
class Dynamics:
    """How a neuron turns a current into counts of spikes, over T time steps.

    At every time step, with current X and membrane V (at rest: V = 0)::

        charge   U = retain * V + X                       (decay_input=False)
                 U = V + (X - V) * (1 - retain)           (decay_input=True)
        fire     n = the number of levels d = 1..D that U / threshold reaches,
                     level d being at d - 1 + offset; a tie U / threshold == level
                     counts as reached (ties="up"), or only for even d (ties="even",
                     which is round-half-to-even of U / threshold)
        reset    V = U - threshold * n                    (reset="soft")
                 V = U * (1 - n)                          (reset="hard")

    The neuron's output is ``unit * n``. With D = 1 and offset 1 this is the binary leaky
    integrate-and-fire neuron, n = (U >= threshold) (QSD-Transformer eqs. 1-3); with offset 0.5 it
    is the integer neuron n = round(clip(U, 0, D)) (Spike2Former eqs. 16-18, QSD eq. 9).

    Attributes:
        steps: T, time steps per call.
        levels: D, the most spikes per time step, 1 to 255.
        threshold: Membrane removed per count by the soft reset, and the distance of two levels.
        offset: Where the first level lies, in thresholds: 1.0 or 0.5.
        unit: Value of one count on the output edge.
        retain: Share of the membrane kept per time step: 1 - 1/tau, or beta.
        decay_input: Whether the current is scaled by 1 - retain as well.
        reset: "soft" subtracts what was fired, "hard" sets a fired membrane to zero.
        ties: What happens exactly on a level.

    Raises:
        UserError: If a field is out of range or two fields contradict each other.
    """

    steps: int = 1
    levels: int = 1
    threshold: float = 1.0
    offset: float = 0.5
    unit: float = 1.0
    retain: float = 0.5
    decay_input: bool = False
    reset: Literal["soft", "hard"] = "soft"
    ties: Literal["up", "even"] = "even"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps must be at least 1, got {self.steps}; pass steps=1 for images")
        if not 1 <= self.levels <= 255:
            raise UserError(
                f"levels must be 1 to 255, got {self.levels}; pass levels=1 for binary spikes, "
                "or the neuron 'relu' for analog values"
            )
        for field in ("threshold", "unit"):
            value = getattr(self, field)
            if not 0 < value < float("inf"):
                raise UserError(f"{field} must be positive and finite, got {value}")
        if self.offset not in (0.5, 1.0):
            raise UserError(
                f"offset must be 0.5 (rounding neurons) or 1.0 (fires at the threshold), "
                f"got {self.offset}"
            )
        if not 0 <= self.retain <= 1:
            raise UserError(
                f"retain must be within [0, 1], got {self.retain}; pass 1 - 1/tau, so tau >= 1"
            )
        if self.reset not in ("soft", "hard"):
            raise UserError(f"reset must be 'soft' or 'hard', got {self.reset!r}")
        if self.ties not in ("up", "even"):
            raise UserError(f"ties must be 'up' or 'even', got {self.ties!r}")
        if self.ties == "even" and self.offset != 0.5:
            raise UserError(
                f"ties='even' needs offset 0.5, got {self.offset}; pass ties='up' or offset=0.5"
            )
        check_options(self, says=AS_ARGUMENT)
        if self.reset == "hard" and self.levels != 1:
            raise UserError(
                f"reset='hard' needs levels 1, got {self.levels}; pass reset='soft' or levels=1"
            )


def charge(current_t: Tensor, membrane: Tensor, dynamics: Dynamics) -> Tensor:
    """Adds the current of one time step to the leaking membrane; returns the potential U."""
    return charge_with(current_t, membrane, dynamics.retain, dynamics.decay_input)


def charge_with(
    current_t: Tensor, membrane: Tensor | None, retain: float | Tensor, decay_input: bool
) -> Tensor:
    """Is `charge` with a retained share that may be learned; a membrane of None is at rest."""
    if decay_input:
        if membrane is None:
            return current_t * (1 - retain)
        return membrane + (current_t - membrane) * (1 - retain)
    return current_t if membrane is None else retain * membrane + current_t


def count(potential: Tensor, dynamics: Dynamics) -> Tensor:
    """Counts the levels that the potential reaches: whole numbers 0..D in the potential's dtype."""
    scaled = potential if dynamics.threshold == 1.0 else potential / dynamics.threshold
    if dynamics.levels == 1:
        return _reached(scaled, 1, dynamics).to(potential.dtype)
    if dynamics.ties == "even":
        return scaled.clamp(0, dynamics.levels).round()
    # floor(scaled + 0.5) would round the largest float below 0.5 up to 1; this form is exact.
    return ((scaled - dynamics.offset).floor() + 1).clamp(0, dynamics.levels)


def reset(potential: Tensor, counts: Tensor, dynamics: Dynamics) -> Tensor:
    """Removes from the potential what was fired; returns the membrane V."""
    if dynamics.reset == "hard":
        return potential * (1 - counts)
    return potential - (counts if dynamics.threshold == 1.0 else counts * dynamics.threshold)


def integrate(
    current: Tensor, dynamics: Dynamics, membrane: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Runs the neuron over time, from rest unless a membrane is given.

    Args:
        current: Shape [T, ...], time first.
        dynamics: The neuron's equations; `dynamics.steps` is not looked at.
        membrane: Membrane to start from, shape [...].

    Returns:
        Counts of shape [T, ...] (multiply by `dynamics.unit` for the output), and the membrane
        after the last time step, shape [...].
    """
    state = torch.zeros_like(current[0]) if membrane is None else membrane
    counts = []
    for current_t in current.unbind(0):
        potential = charge(current_t, state, dynamics)
        counts.append(count(potential, dynamics))
        state = reset(potential, counts[-1], dynamics)
    return torch.stack(counts), state


def binary_spikes(potential: Tensor, dynamics: Dynamics) -> list[Tensor]:
    """Unrolls the count of one time step into D virtual sub-steps of 0/1 spikes.

    These are the spikes of an integrate-and-fire neuron that starts at U / threshold, fires in
    sub-step d when it reaches `offset` and then loses 1 (soft reset): it fires in the first n
    sub-steps and is silent after, so sub-step d asks whether level d was reached. The sum over
    the sub-steps is `count(potential, dynamics)`, bit for bit, ties included
    (QSD-Transformer eq. 10, Spike2Former eq. 20).

    Returns:
        D tensors of zeros and ones, in the potential's shape and dtype.
    """
    scaled = potential if dynamics.threshold == 1.0 else potential / dynamics.threshold
    return [
        _reached(scaled, level, dynamics).to(potential.dtype)
        for level in range(1, dynamics.levels + 1)
    ]


def _reached(scaled: Tensor, level: int, dynamics: Dynamics) -> Tensor:
    """Asks whether a potential, in thresholds, reaches a level: > or >= by the rule for ties."""
    position = level - 1 + dynamics.offset
    tie_fires = dynamics.ties == "up" or level % 2 == 0
    return scaled >= position if tie_fires else scaled > position
