"""Where on a photo the neurons of a network fire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.deployment.network import Deployed
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import execute, integer_vocabulary as integer
from spikesight.graph.counts import counts_of
from spikesight.graph.tracing import trace_parts
from spikesight.passes.folding import fold


@dataclass(frozen=True)
class FiringMaps:
    """Firing rates by place, of the layers that keep places.

    Attributes:
        photo: What was shown, uint8 [C, H, W], grey or colour, of full contrast.
        rates: [h, w] in [0, 1], the mean over channels and time steps, by the layer's path.
    """

    photo: Tensor
    rates: dict[str, Tensor]


@torch.no_grad()
def firing_maps(network: nn.Module | Deployed, x: Tensor) -> FiringMaps:
    """Looks where neurons fire.

    Args:
        network: A spiking model or a deployed network; of several networks, such as a detector's,
            the one that sees the photo.
        x: The photo as the network takes it, [1, C, H, W], or frames [1, T, C, H, W].

    Returns:
        The rates of neurons whose values are a map of more than one pixel; none of an ANN.
    """
    rates: dict[str, Tensor] = {}
    units: dict[str, float] = {}

    def keep(name: str, output: Tensor, levels: int) -> None:
        if output.ndim == 4 and output.shape[-2] > 1 and output.shape[-1] > 1:
            rates[name] = (output.double() / units.get(name, 1.0)).mean((0, 1)).cpu() / levels

    if isinstance(network, Deployed):

        def observe(node: integer.Node, output: Tensor) -> None:
            if isinstance(node, integer.Neuron):
                keep(node.name, output, node.levels)

        IntegerExecutor(network.graph).run(x, observe)
        return FiringMaps(_shown(x[0]), rates)
    graph = fold(next(iter(trace_parts(network).values())))
    counted = counts_of(graph)
    units = {name: counts.unit for name, counts in counted.items()}
    names = {neuron.name for neuron in graph.neurons}

    def see(node: Any, _: tuple[Tensor, ...], output: Tensor) -> None:
        if node.name in names and node.name in counted:
            keep(node.name, output, counted[node.name].levels)

    example = next(network.parameters())
    execute(graph, x.to(example.device, example.dtype), see)
    return FiringMaps(_shown(x[0]), rates)


def _shown(x: Tensor) -> Tensor:
    """An input as a picture: frames and channels that are no colours are added up."""
    x = x.detach().cpu().double()
    x = x.mean(0) if x.ndim == 4 else x
    x = x if len(x) in (1, 3) else x.sum(0, keepdim=True)
    low, high = x.min(), x.max()
    return ((x - low) / (high - low).clamp(min=1e-9) * 255).round().to(torch.uint8)
