"""What validation says about a model, whatever its task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class Figures(ABC):
    """Validation figures of one task; a frozen dataclass of plain values.

    Attributes:
        COLUMNS: Names of the fields that metrics.csv holds.
        images: Number of images.
        firing_rate: Mean over the spiking neuron layers of their firing rate; None if the model
            has none (the ANN twin).
        silent_neurons: Names of the neuron layers that never fired.
    """

    COLUMNS: ClassVar[tuple[str, ...]]
    images: int
    firing_rate: float | None
    silent_neurons: tuple[str, ...]

    @abstractmethod
    def better_than(self, other: Any) -> bool:
        """Whether a model with these figures should take the place of one with the others."""

    @abstractmethod
    def headline(self) -> str:
        """The one figure that counts, such as "top-1 92.73 %"."""

    @abstractmethod
    def summary(self) -> str:
        """All figures in one line."""

    def by_class(self) -> tuple[str, dict[str, float | None]]:
        """What is measured of each class, and its value; None for one that does not occur."""
        return "", {}

    def columns(self) -> dict[str, float]:
        """Values of those of `COLUMNS` that were measured."""
        values = {name: getattr(self, name) for name in self.COLUMNS}
        return {name: value for name, value in values.items() if value is not None}

    def firing(self) -> str:
        """The firing rate as the end of a line; empty for an ANN twin."""
        return "" if self.firing_rate is None else f"  firing {self.firing_rate:.3f}"
