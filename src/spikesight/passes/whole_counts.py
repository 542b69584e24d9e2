"""Counts worth 1: a neuron's unit moved into the weights that read it, in the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from spikesight.graph import Add, Graph, MaxPool, Neuron, Pool, Rearrange, Synapse
from spikesight.graph.tracing import trace_parts
from spikesight.neurons.calibrated_i_lif import CalibratedILIF
from spikesight.synapses import Synapse as SynapseModule


@torch.no_grad()
def emit_whole_counts(model: nn.Module) -> Callable[[], None]:
    """Makes spikes worth 1 where synapses alone read them; the model computes the same.

    `fold` does so in a graph; here it is done to the weights, so that what is learned of them next
    knows the counts. Neurons with a fixed unit, and those that products read, stay as they are.

    Args:
        model: A model that `trace` can read, changed in place.

    Returns:
        What puts all of it back.
    """
    before: list[tuple[Tensor, Tensor]] = []
    if not any(isinstance(module, CalibratedILIF) for module in model.modules()):
        return partial(_put_back, before)
    modules = dict(model.named_modules())
    for graph in trace_parts(model).values():
        for neurons, readers in _joined(graph, modules):
            units = {neuron.unit for neuron in neurons if isinstance(neuron, CalibratedILIF)}
            calibrated = all(isinstance(neuron, CalibratedILIF) for neuron in neurons)
            if not calibrated or len(units) != 1 or not all(map(_weight, readers)):
                continue
            unit = units.pop()
            for neuron in neurons:
                assert isinstance(neuron, CalibratedILIF)
                before.append((neuron.gain, neuron.gain.clone()))
                neuron.gain.copy_(1 / neuron.scale.detach().double().abs())
            for reader in readers:
                (weight,) = _weight(reader)
                before.append((weight, weight.clone()))
                weight.mul_(unit)
    return partial(_put_back, before)


@torch.no_grad()
def _put_back(before: Iterable[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in before:
        tensor.copy_(value)


def _weight(reader: nn.Module) -> list[Tensor]:
    """The weight that reads spikes, if it is a plain kernel or matrix."""
    first = next(reader.children(), None) if isinstance(reader, SynapseModule) else None
    plain = isinstance(first, nn.Conv2d | nn.Linear)
    return [first.weight.data] if plain and first is not None else []  # type: ignore[list-item]


def _joined(
    graph: Graph, modules: dict[str, nn.Module]
) -> list[tuple[list[nn.Module], list[nn.Module]]]:
    """Neurons whose unit must be one, with the synapses that read them; those alone."""
    spikes: dict[str, set[str]] = {}
    groups: list[tuple[set[str], set[str]]] = []  # neurons and synapses
    kept: set[str] = set()
    for node in graph.nodes:
        sources = [spikes[name] for name in node.inputs if name in spikes]
        read = set[str]().union(*sources)
        match node:
            case Neuron():
                kept |= read
                spikes[node.name] = {_module(node.name)}
                groups.append(({_module(node.name)}, set()))
            case MaxPool() | Rearrange() | Pool() if sources:
                spikes[node.name] = read
            case Add() if len(sources) == 2:
                spikes[node.name] = read
                groups.append((read, set()))
            case Synapse() if sources:
                groups.append((read, {_module(node.name)}))
            case _:
                kept |= read
    merged: list[tuple[set[str], set[str]]] = []
    for neurons, synapses in groups:
        own = [group for group in merged if group[0] & neurons or group[1] & synapses]
        merged = [group for group in merged if group not in own]
        merged.append((
            neurons.union(*(group[0] for group in own)),
            synapses.union(*(group[1] for group in own)),
        ))  # fmt: skip
    return [
        ([modules[name] for name in sorted(neurons)], [modules[name] for name in sorted(synapses)])
        for neurons, synapses in merged
        if synapses and not neurons & kept and (neurons | synapses) <= modules.keys()
    ]


def _module(name: str) -> str:
    return name.partition("#")[0]
