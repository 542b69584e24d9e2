"""What stands in for the derivative of a spike count when a neuron is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.neurons.dynamics import Dynamics


@dataclass(frozen=True)
class Surrogate:
    """A derivative dn/dU for a neuron whose count n is a step function of its potential U."""

    name: ClassVar[str]

    @property
    def parameter(self) -> float:
        """The one number that shapes the derivative: the value of the only field."""
        (field,) = fields(self)
        return float(getattr(self, field.name))

    def slope(self, potential: Tensor, dynamics: Dynamics) -> Tensor:
        """Returns dn/dU at the given potential."""
        raise NotImplementedError


@dataclass(frozen=True)
class Bump(Surrogate):
    """A surrogate for binary neurons: a bump around the threshold, shaped by a positive number."""

    def __post_init__(self) -> None:
        if not 0 < self.parameter < float("inf"):
            raise UserError(
                f"{fields(self)[0].name} must be positive and finite, got {self.parameter}"
            )

    def derivative(self, x: Tensor) -> Tensor:
        """Returns dn/dU at a distance x = U - threshold from the threshold."""
        raise NotImplementedError

    def slope(self, potential: Tensor, dynamics: Dynamics) -> Tensor:
        """Returns dn/dU at the given potential."""
        return self.derivative(potential - dynamics.threshold)


@dataclass(frozen=True)
class Sigmoid(Bump):
    """The derivative of sigmoid(alpha * x), as Spikformer and SDT train."""

    alpha: float = 4.0
    name: ClassVar[str] = "sigmoid"

    def derivative(self, x: Tensor) -> Tensor:
        """Returns alpha * s * (1 - s) with s = sigmoid(alpha * x)."""
        # As alpha * e / (1 + e)^2 with e = exp(-alpha * |x|), a power of two: a compiled backward
        # pass spends most of its time here, and this is the cheapest form that never overflows.
        e = torch.exp2(x.abs() * (-self.alpha * math.log2(math.e)))
        return e * self.alpha / (1 + e) ** 2


@dataclass(frozen=True)
class Rectangular(Bump):
    """The window of QSD-Transformer eqs. 15-16: 1 / width where |x| < width / 2, else 0."""

    width: float = 1.0
    name: ClassVar[str] = "rectangular"

    def derivative(self, x: Tensor) -> Tensor:
        """Returns the window's height inside it and 0 outside."""
        return (x.abs() < self.width / 2).to(x.dtype) * (1 / self.width)


@dataclass(frozen=True)
class Arctan(Bump):
    """The derivative of arctan(pi / 2 * alpha * x) / pi."""

    alpha: float = 2.0
    name: ClassVar[str] = "arctan"

    def derivative(self, x: Tensor) -> Tensor:
        """Returns alpha / 2 / (1 + (pi / 2 * alpha * x)^2)."""
        scaled = x * (math.pi / 2 * self.alpha)
        return (self.alpha / 2) / (1 + scaled * scaled)


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """The straight-through slope 1 / threshold of integer neurons where 0 <= U <= D * threshold.

    Attributes:
        closed: Whether the gradient passes on the two ends of that range as well (Spike2Former,
            QSD's dense heads); False masks them (QSD's classification code).
    """

    closed: bool = True
    name: ClassVar[str] = "straight_through"

    def slope(self, potential: Tensor, dynamics: Dynamics) -> Tensor:
        """Returns dn/dU at the given potential."""
        top = dynamics.levels * dynamics.threshold
        if self.closed:
            inside = (potential >= 0) & (potential <= top)
        else:
            inside = (potential > 0) & (potential < top)
        return inside.to(potential.dtype) * (1 / dynamics.threshold)


_BUMPS: dict[str, type[Sigmoid] | type[Rectangular] | type[Arctan]] = {
    surrogate.name: surrogate for surrogate in (Sigmoid, Rectangular, Arctan)
}


def find_surrogate(name: str) -> Surrogate:
    """Returns the surrogate for binary neurons of that name, with its default shape.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in _BUMPS:
        raise UserError(f"unknown surrogate {name!r}; pass one of {', '.join(sorted(_BUMPS))}")
    return _BUMPS[name]()


def surrogate_from(name: str, parameter: float) -> Surrogate:
    """Rebuilds a surrogate from its `name` and `parameter`."""
    if name == StraightThrough.name:
        return StraightThrough(closed=bool(parameter))
    return _BUMPS[name](parameter)
