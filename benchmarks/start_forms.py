"""What is done to a network from outside so that it starts otherwise; `starts.py` tries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.attention import SpikingSelfAttention
from spikesight.models.base import quieten
from spikesight.models.feed_forward import SpikingFeedForward
from spikesight.models.stems import SpikingConvolutionStage
from spikesight.neurons import IntegerLIF, Neuron, Surrogate
from spikesight.neurons.dynamics import Dynamics

# Share of a run after which what is blended or annealed has come to its end.
_SETTLED = 0.5


@dataclass(frozen=True)
class LeakyStraightThrough(Surrogate):
    """Straight through within the range, and a share of the gradient beyond both of its ends."""

    leak: float = 0.1
    name: ClassVar[str] = "leaky_straight_through"

    def slope(self, potential: Tensor, dynamics: Dynamics) -> Tensor:
        """Returns dn/dU at the given potential."""
        inside = (potential >= 0) & (potential <= dynamics.levels * dynamics.threshold)
        return torch.where(inside, 1.0, self.leak).to(potential.dtype) / dynamics.threshold


def _neurons(model: nn.Module) -> list[Neuron]:
    return [module for module in model.modules() if isinstance(module, Neuron)]


def shaped(surrogate: Surrogate) -> Callable[[nn.Module], None]:
    """Another surrogate for all neurons."""

    def change(model: nn.Module) -> None:
        for neuron in _neurons(model):
            neuron._rule = replace(neuron._rule, surrogate=surrogate)
            if isinstance(neuron, IntegerLIF):
                neuron._eval_rule = neuron._rule

    return change


def annealed(model: nn.Module, share: float) -> None:
    """Finer counts of the same range at first: four times the levels, then twice, then D."""
    finer = 4 if share < _SETTLED / 2 else 2 if share < _SETTLED else 1
    for neuron in _neurons(model):
        own = neuron.__dict__.setdefault("own_rule", neuron._rule)
        dynamics = replace(
            own.dynamics,
            levels=own.dynamics.levels * finer,
            threshold=own.dynamics.threshold / finer,
            unit=own.dynamics.unit / finer,
        )
        neuron._rule = replace(own, dynamics=dynamics)


def blended(model: nn.Module, share: float) -> None:
    """(1 - b) counts + b ReLU, b falling from 1 to 0; both of about the same size."""
    b = max(0.0, 1.0 - share / _SETTLED)
    for neuron in _neurons(model):
        if b:
            neuron.__dict__["forward"] = lambda current, neuron=neuron: (
                (1 - b) * type(neuron).forward(neuron, current) + b * neuron.unit * F.relu(current)
            )
        else:
            neuron.__dict__.pop("forward", None)


def _branches(model: nn.Module) -> Iterator[nn.Module]:
    """The last synapses of a Spikformer's branches."""
    for module in model.modules():
        if isinstance(module, SpikingFeedForward | SpikingSelfAttention):
            yield module.project
        elif isinstance(module, SpikingConvolutionStage):
            yield module.narrow


def damped(share: float) -> Callable[[nn.Module], None]:
    """The last normalisation of every branch of a Spikformer at a share of its gain."""

    def change(model: nn.Module) -> None:
        for branch in _branches(model):
            quieten(branch, share)

    return change


def both(*changes: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    """Several changes."""

    def change(model: nn.Module) -> None:
        for one in changes:
            one(model)

    return change


def fine_head(model: Any) -> None:
    """The neuron behind the pooling counts in quarters of a threshold."""
    model.head_neuron = IntegerLIF(levels=4, threshold=0.25, unit=0.25)
