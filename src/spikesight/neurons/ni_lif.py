"""The normalised integer leaky integrate-and-fire neuron."""

from __future__ import annotations

from typing import Literal

from spikesight.neurons.integer_lif import IntegerLIF


class NILIF(IntegerLIF):
    """NI-LIF: emits n / D with n = round(clip(U, 0, D)) (Spike2Former eqs. 16-18).

    The slope of its gradient is 1 / D; on the way to spikes 1 / D is folded into the consumer.

    Args:
        steps: T, time steps per call.
        levels: D, the most spikes per time step.
        threshold: Membrane that one spike stands for.
        retain: Share of the membrane kept per time step (beta in eq. 18).
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
        super().__init__(steps, levels, 1 / max(levels, 1), threshold, retain, ties, mask)
