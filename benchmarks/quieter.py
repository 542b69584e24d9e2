"""Quieter forms of a deployed network: thresholds raised until few enough counts are not zero."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32, prove_ranges
from spikesight.passes.thresholds import agrees


def quieter(network: ss.Deployed, x: Tensor, share: float) -> ss.Deployed:
    """The network whose neurons fire no more than a share of counts that are not zero.

    Layer by layer, on the currents of these images: each channel's thresholds rise together, so
    that levels stay as far apart as they were. Neurons that are quiet enough stay as they are, and
    so does one that counts pixels.

    Args:
        network: A network of one time step.
        x: Normalised images [B, C, H, W].
        share: Largest share of a neuron's counts that are not zero.
    """
    executor = _Quieter(network.graph, share)
    executor(x)
    nodes = tuple(executor.raised.get(node.name, node) for node in network.graph.nodes)
    return ss.Deployed(replace(network.graph, nodes=nodes))


def nonzero_by_operation(graph: integer.Graph, x: Tensor) -> float:
    """Share of multiply-accumulates of counts whose count is not zero."""
    shares: dict[str, float] = {}

    def look(node: integer.Node, value: Tensor) -> None:
        if isinstance(node, integer.Neuron):
            shares[node.name] = float((value != 0).double().mean())

    IntegerExecutor(graph)(x, look)
    shapes = graph.shapes((int(x.shape[-2]), int(x.shape[-1])))
    operations = {
        node: node.weight.numel() * shapes[node.name].pixels
        for node in graph.nodes
        if isinstance(node, integer.Synapse) and node.inputs[0] in shares
    }
    active = sum(shares[node.inputs[0]] * count for node, count in operations.items())
    return active / sum(operations.values())


class _Quieter(IntegerExecutor):
    """Raises each neuron's thresholds when it runs, and goes on with what it gives then."""

    def __init__(self, graph: integer.Graph, share: float) -> None:
        assert graph.input.steps == 1
        super().__init__(graph)
        self._reach = prove_ranges(graph)
        self._share = share
        self.raised: dict[str, integer.Neuron] = {}

    def _run(self, node: integer.Node, inputs: list[Tensor], pixels: dict[str, int]) -> Tensor:
        if isinstance(node, integer.Neuron) and not node.per_pixel:
            current = inputs[0].transpose(0, 1).flatten(1).double()
            magnitude = self._reach[node.inputs[0]].interval.magnitude
            node = self.raised[node.name] = _raised(node, current, self._share, magnitude)
        return super()._run(node, inputs, pixels)


def _raised(
    neuron: integer.Neuron, current: Tensor, share: float, magnitude: int
) -> integer.Neuron:
    """The neuron with thresholds for currents [C, values]."""
    potential = current * 2**neuron.shift + neuron.bias.view(-1, 1)
    first = neuron.thresholds[:, :1].double()
    if float((potential >= first).double().mean()) <= share:
        return neuron
    rise = _first_thresholds(potential, share) - neuron.thresholds[:, 0]
    thresholds = neuron.thresholds + rise.view(-1, 1)
    raised = replace(neuron, thresholds=thresholds, rounding=None)
    if neuron.rounding is None:
        return raised
    gain = neuron.rounding.gain.double()
    offset = neuron.rounding.offset.double() - gain * rise
    extent = gain.abs() * magnitude + offset.abs() + 1
    # Of gains as short as they are, float32 adds no error as long as it holds every sum.
    if bool((extent / _grid(gain, offset) >= EXACT_IN_FLOAT32).any()):
        return raised
    form = integer.Rounding(gain.float().expand_as(offset).contiguous(), offset.float())
    return replace(raised, rounding=form) if agrees(raised, form) else raised


def _first_thresholds(potential: Tensor, share: float) -> Tensor:
    """A first threshold per channel, [C] int64, that the share of potentials [C, values] reaches.

    Where many values are alike a channel's share lies above or below; channels take turns, so that
    over all of them it is met.
    """
    values = potential.shape[1]
    place = min(max(round(values * (1 - share)), 1), values)
    at = potential.kthvalue(place, dim=1, keepdim=True).values
    silent = (potential > at).double().mean(1)
    loud = (potential >= at).double().mean(1)
    chosen, reached, wanted = [], 0.0, 0.0
    by_channel = zip(at.flatten().tolist(), silent.tolist(), loud.tolist(), strict=True)
    for threshold, less, more in by_channel:
        wanted += share
        takes_less = abs(reached + less - wanted) <= abs(reached + more - wanted)
        reached += less if takes_less else more
        chosen.append(int(threshold) + takes_less)
    return torch.tensor(chosen)


def _grid(*values: Tensor) -> float:
    """The largest power of two that all values are multiples of."""
    step = 1.0
    while not all(bool((value / step == (value / step).round()).all()) for value in values):
        step /= 2
    return step
