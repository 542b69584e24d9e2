"""What the integer neurons I-LIF, NI-LIF and IE-LIF share."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from spikesight.errors import UserError
from spikesight.neurons.dynamics import Dynamics
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.recurrence import Rule
from spikesight.neurons.surrogate import StraightThrough


class IntegerLIF(Neuron):
    """A neuron that fires up to D times per time step: n = round(clip(U / threshold, 0, D)).

    U = retain * V + X and V = U - threshold * n (Spike2Former eqs. 16-18). Gradients pass straight
    through where 0 <= U <= D * threshold.

    Args:
        steps: T, time steps per call.
        levels: D, the most spikes per time step.
        unit: Value of one count on the output edge.
        threshold: Membrane that one spike stands for.
        retain: Share of the membrane kept per time step (beta in eq. 18).
        ties: "even" rounds half to even, "up" rounds half up.
        mask: "closed" passes gradients on both ends of the range, "open" does not.
        eval_levels: D in eval mode where it differs, which the released QSD detector does.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        steps: int = 1,
        levels: int = 4,
        unit: float = 1.0,
        threshold: float = 1.0,
        retain: float = 0.5,
        ties: Literal["up", "even"] = "even",
        mask: Literal["closed", "open"] = "closed",
        eval_levels: int | None = None,
    ) -> None:
        if mask not in ("closed", "open"):
            raise UserError(f"mask must be 'closed' or 'open', got {mask!r}")
        dynamics = Dynamics(
            steps=steps,
            levels=levels,
            threshold=threshold,
            offset=0.5,
            unit=unit,
            retain=retain,
            ties=ties,
        )
        super().__init__(Rule(dynamics, StraightThrough(closed=mask == "closed")))
        self._eval_rule = self._rule
        if eval_levels is not None:
            self._eval_rule = replace(self._rule, dynamics=replace(dynamics, levels=eval_levels))

    def set_steps(self, steps: int) -> None:
        """Changes T, the time steps per call; everything else stays as it is."""
        super().set_steps(steps)
        dynamics = replace(self._eval_rule.dynamics, steps=steps)
        self._eval_rule = replace(self._eval_rule, dynamics=dynamics)

    @property
    def rule(self) -> Rule:
        """The neuron's equations and gradients, as they hold in the present mode."""
        return self._rule if self.training else self._eval_rule
