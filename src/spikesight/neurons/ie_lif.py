"""The information-enhanced leaky integrate-and-fire neuron."""

from __future__ import annotations

from typing import Literal

from spikesight.neurons.integer_lif import IntegerLIF


class IELIF(IntegerLIF):
    """IE-LIF: trains with counts n = round(clip(U, 0, D)), infers with D binary sub-steps.

    QSD-Transformer eqs. 9-10 train it with T = 1 and D = 4; `binary_spikes` gives the sub-steps.

    Args:
        steps: T, time steps per call.
        levels: D, the most spikes per time step.
        threshold: Membrane that one spike stands for.
        retain: Share of the membrane kept per time step.
        ties: "even" rounds half to even, "up" rounds half up.
        mask: "closed" passes gradients on both ends of the range, "open" does not.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        steps: int = 1,
        levels: int = 4,
        threshold: float = 1.0,
        retain: float = 0.5,
        ties: Literal["up", "even"] = "even",
        mask: Literal["closed", "open"] = "closed",
    ) -> None:
        super().__init__(steps, levels, 1.0, threshold, retain, ties, mask)
