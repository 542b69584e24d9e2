"""The analog neuron of the ANN twin."""

from __future__ import annotations

from torch import Tensor

from spikesight.errors import UserError
from spikesight.neurons.dynamics import Dynamics
from spikesight.neurons.neuron import Neuron


class ReLU(Neuron):
    """Stands where a spiking neuron would stand in a model's analog twin: max(X, 0).

    It has no levels (0), no dynamics (None) and no membrane.

    Args:
        steps: T, kept so that the twin sees the same input; every time step is computed alone.

    Raises:
        UserError: If steps is not positive.
    """

    def __init__(self, steps: int = 1) -> None:
        super().__init__(Dynamics(steps=steps))

    @property
    def levels(self) -> int:
        """0: the output is analog."""
        return 0

    def forward(self, current: Tensor, membrane: Tensor | None = None) -> Tensor:
        """Returns max(current, 0).

        Args:
            current: Shape [T*B, ...], time-major.
            membrane: Must be None.

        Raises:
            UserError: If the first dimension does not divide by T, or a membrane is passed.
        """
        if membrane is not None:
            raise UserError("an analog neuron has no membrane; pass membrane=None")
        self._check(current, None)
        return current.relu()

    def extra_repr(self) -> str:
        """Returns the numbers that make this neuron, for print(model)."""
        return f"steps={self.steps}"
