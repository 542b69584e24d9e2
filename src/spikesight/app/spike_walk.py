"""The spikes of every layer, step by step: how a picture of counts forms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from spikesight.deployment.network import Deployed
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.unrolling import Spikes

_MOST_PIXELS = 3 << 20  # of all maps together
_LONGEST, _SHORTEST = 96, 8  # pixels of the longer side of a map


@dataclass(frozen=True)
class LayerWalk:
    """One layer.

    Attributes:
        name: The neuron's path in the model.
        maps: Spikes so far after each step, [S, h, w]: the mean over the channels. The last one
            holds the counts, summed over the time steps.
        levels: Sub-steps D of this layer in a time step.
    """

    name: str
    maps: Tensor
    levels: int


@dataclass(frozen=True)
class SpikeWalk:
    """The layers whose spikes are a map, first to last.

    Attributes:
        steps: Time steps T.
        levels: Sub-steps D of a time step.
        layers: The layers.
    """

    steps: int
    levels: int
    layers: tuple[LayerWalk, ...]

    @property
    def length(self) -> int:
        """Number of steps, T x D."""
        return self.steps * self.levels


def walk_spikes(network: Deployed, x: Tensor) -> SpikeWalk:
    """Runs a network as binary spikes and keeps where they are.

    Args:
        network: The network.
        x: A normalised image [1, C, H, W] or frames [1, T, C, H, W].

    Returns:
        The walk; large maps are averaged over neighbours.
    """
    graph = network.graph
    levels = max((node.levels for node in graph.neurons), default=1)
    steps = graph.input.steps
    count = max(len(graph.neurons), 1)
    side = int((_MOST_PIXELS / (count * steps * levels)) ** 0.5)
    longest = max(_SHORTEST, min(_LONGEST, side))
    seen: dict[str, list[Tensor]] = {}

    def keep(node: integer.Neuron, _: int, spikes: Spikes) -> None:
        if spikes[0].ndim == 4 and min(spikes[0].shape[-2:]) > 1:
            maps = torch.stack([_shrunk(each[0].mean(0), longest) for each in spikes])
            # A layer of fewer sub-steps has its spikes in the first ones.
            missing = maps.new_zeros(levels - len(maps), *maps.shape[1:])
            seen.setdefault(node.name, []).append(torch.cat([maps, missing]))

    SpikeExecutor(graph).run(x, keep)
    layers = tuple(
        LayerWalk(node.name, torch.cat(seen[node.name]).cumsum(0).float(), node.levels)
        for node in graph.neurons
        if node.name in seen
    )
    return SpikeWalk(steps, levels, layers)


def _shrunk(values: Tensor, longest: int) -> Tensor:
    height, width = values.shape
    factor = longest / max(height, width)
    if factor >= 1:
        return values
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    shrunk: Tensor = adaptive_avg_pool2d(values[None], size)[0]
    return shrunk
