"""Unroll: the network as T x D steps of binary spikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from spikesight.attention.product import split_heads
from spikesight.errors import UserError
from spikesight.graph import (
    Add,
    AttentionProduct,
    CurrentProduct,
    Embedding,
    Gate,
    Graph,
    Input,
    MaskProduct,
    MaxPool,
    Neuron,
    Output,
    Pool,
    Position,
    Rearrange,
    Resize,
    Sample,
    SpikeSum,
    Synapse,
)
from spikesight.graph.counts import require_ordered_maxima
from spikesight.graph.execution import (
    StaticNode,
    apply_affine,
    arrange_output,
    run_static,
)
from spikesight.neurons.dynamics import binary_spikes, charge, reset
from spikesight.passes.folding import fold
from spikesight.presentation import present

Spikes = list[Tensor]
SpikeObserver = Callable[[Neuron, int, Spikes], None]


def unroll(graph: Graph) -> SpikeNetwork:
    """Makes the binary simulation of a network.

    Args:
        graph: As `trace` or `fold` returns it; it is folded here if it was not.

    Returns:
        The simulation, called with an input.

    Raises:
        UserError: If a neuron is a ReLU: an ANN has no spikes; or a maximum is over sums or
            products of counts, which no spikes give sub-step by sub-step.
    """
    for neuron in graph.neurons:
        if neuron.dynamics is None:
            raise UserError(
                f"{neuron.name} is a ReLU and emits no spikes; create the model with a spiking "
                'neuron such as neuron="i_lif"'
            )
    require_ordered_maxima(graph, UserError)
    return SpikeNetwork(fold(graph))


@dataclass(frozen=True)
class SpikeNetwork:
    """Simulates a folded graph in T time steps of D binary sub-steps.

    Every synapse reads tensors of 0 and 1. Per time step it sums its kernel over the sub-steps
    and adds its bias once. An attention product expands one operand into spikes and keeps the
    other as accumulated integers: K^T V = sum_d k_d^T V, then Q (K^T V) = sum_d q_d (K^T V).
    A product of a current expands its spikes and adds up what all sub-steps made of the current.
    A sum of two counts is the sub-steps of both, one after the other; a gate is each sub-step of
    one AND each of the other, sum_d sum_e x_d g_e. A maximum of currents is taken once per time
    step, over what the sub-steps accumulated.

    Attributes:
        graph: The folded graph.
    """

    graph: Graph

    @torch.no_grad()
    def __call__(self, x: Tensor, observe: SpikeObserver | None = None) -> Tensor:
        """Runs the simulation from rest.

        Args:
            x: Images [B, C, H, W] or frames [B, T, C, H, W], in the graph's dtype.
            observe: Called for every neuron and time step with the neuron, the time step and
                its D spike tensors [B, ...].

        Returns:
            The output [B, K]; of several the last.

        Raises:
            UserError: If the network does not take the input.
        """
        return self.run(x, observe)[-1]

    @torch.no_grad()
    def run(self, x: Tensor, observe: SpikeObserver | None = None) -> tuple[Tensor, ...]:
        """Is a call for networks with several outputs; returns all of them in order."""
        self.graph.input.check(tuple(x.shape))
        steps = self.graph.input.steps
        membranes: dict[str, Tensor] = {}
        outputs: dict[str, list[Tensor]] = {node.name: [] for node in self.graph.outputs}
        for t, frame in enumerate(present(x, steps).unflatten(0, (steps, -1))):
            values: dict[str, Tensor | Spikes] = {}
            for node in self.graph.nodes:
                if isinstance(node, Neuron):
                    spikes = _fire(node, total(values[node.inputs[0]]), membranes)
                    values[node.name] = _with_unit(node, spikes)
                    if observe is not None:
                        observe(node, t, spikes)
                else:
                    inputs = [values[name] for name in node.inputs]
                    values[node.name] = frame if isinstance(node, Input) else _run(node, inputs)
            for name, frames in outputs.items():
                frames.append(total(values[name]))
        return tuple(
            arrange_output(node, torch.stack(outputs[node.name]).mean(0))
            for node in self.graph.outputs
        )


def _fire(node: Neuron, current: Tensor, membranes: dict[str, Tensor]) -> Spikes:
    dynamics = node.dynamics
    assert dynamics is not None
    membrane = membranes.get(node.name)
    potential = charge(
        current, torch.zeros_like(current) if membrane is None else membrane, dynamics
    )
    spikes = binary_spikes(potential, dynamics)
    membranes[node.name] = reset(potential, total(spikes), dynamics)
    return spikes


def _with_unit(node: Neuron, spikes: Spikes) -> Tensor | Spikes:
    assert node.dynamics is not None
    return spikes if node.dynamics.unit == 1.0 else total(spikes) * node.dynamics.unit


def expanded(value: Tensor | Spikes) -> Spikes:
    """The spikes of a count, sub-step by sub-step, or the value that is none alone."""
    return value if isinstance(value, list) else [value]


def total(value: Tensor | Spikes) -> Tensor:
    """The sum over the sub-steps, or the value itself."""
    return torch.stack(value).sum(0) if isinstance(value, list) else value


def _run(node: StaticNode | Output, inputs: list[Tensor | Spikes]) -> Tensor | Spikes:
    match node:
        case Synapse():
            return _synapse(node, inputs[0])
        case AttentionProduct():
            return _attention(node, *inputs)
        case Add():
            first, second = inputs
            if isinstance(first, list) and isinstance(second, list):
                return first + second
            return total(first) + total(second)
        case Gate():
            first, second = inputs
            if isinstance(first, list) and isinstance(second, list):
                return [run_static(node, (x, by)) for x in first for by in second]
            return _spikewise(node, inputs)
        case MaxPool() | Pool() | Rearrange():
            value = inputs[0]
            if isinstance(value, list):
                return [run_static(node, (spikes,)) for spikes in value]
            return run_static(node, (value,))
        case Output():
            return total(inputs[0])
        case CurrentProduct() | MaskProduct() | Sample() | SpikeSum():
            return _spikewise(node, inputs)
        case Resize() | Embedding() | Position():
            return run_static(node, tuple(total(value) for value in inputs))
    assert_never(node)


def _spikewise(
    node: CurrentProduct | Gate | MaskProduct | Sample | SpikeSum, inputs: list[Tensor | Spikes]
) -> Tensor:
    """What is linear in its one spiking operand: summed over the sub-steps."""
    for position, value in enumerate(inputs):
        if isinstance(value, list):
            others = [total(other) for other in inputs]
            parts = []
            for spikes in value:
                others[position] = spikes
                parts.append(run_static(node, tuple(others)))
            return total(parts)
    return run_static(node, tuple(total(value) for value in inputs))


def _synapse(node: Synapse, value: Tensor | Spikes) -> Tensor:
    if isinstance(value, Tensor):
        return run_static(node, (value,))
    current = torch.zeros_like(value[0])
    for factor in node.factors:
        current = apply_affine(factor, current)
    for spikes in value:
        part = spikes
        for factor in node.factors:
            part = apply_affine(factor, part, linear_part=True)
        current = current + part
    return current


def _attention(
    node: AttentionProduct, query: Tensor | Spikes, key: Tensor | Spikes, value: Tensor | Spikes
) -> Tensor:
    queries, values = expanded(query), split_heads(total(value), node.heads)
    context = total([values @ split_heads(k, node.heads).transpose(-1, -2) for k in expanded(key)])
    current = total([context @ split_heads(q, node.heads) for q in queries])
    scale = node.scale / values.shape[-1] if node.mean else node.scale
    return (current * scale).reshape(len(current), -1, *queries[0].shape[2:])
