"""Which values of a graph are counts of spikes, and how they are made of spikes."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.graph.vocabulary import Add, Graph, MaxPool, Neuron, Pool, Rearrange


@dataclass(frozen=True)
class Counts:
    """A value that is a unit times a count of spikes.

    Attributes:
        levels: Largest count per time step: D of a neuron, the sum of both for an addition.
        unit: Value of one count.
        ordered: Whether sub-step d holds a spike where the count is at least d, as a neuron's
            does. The maximum of such counts is the maximum of their spikes, sub-step by sub-step.
            A sum of counts is expanded into the sub-steps of both and is not ordered.
    """

    levels: int
    unit: float
    ordered: bool


def counts_of(graph: Graph) -> dict[str, Counts]:
    """Finds the values that are counts: of neurons, and of maxima, sums and permutations of counts.

    Sums are those of SEW-style residuals, which add spikes after the neuron (Spikformer). A sum of
    counts with different units is not a count.

    Args:
        graph: The network.

    Returns:
        The counts by the node's name.
    """
    found: dict[str, Counts] = {}
    for node in graph.nodes:
        sources = [found[name] for name in node.inputs if name in found]
        match node:
            case Neuron(dynamics=dynamics) if dynamics is not None:
                found[node.name] = Counts(dynamics.levels, dynamics.unit, ordered=True)
            case MaxPool() | Rearrange() if sources:
                found[node.name] = sources[0]
            case Add() if len(sources) == 2 and sources[0].unit == sources[1].unit:
                levels = sources[0].levels + sources[1].levels
                found[node.name] = Counts(levels, sources[0].unit, ordered=False)
    return found


def unordered_maxima(graph: Graph) -> list[str]:
    """Names of the maxima over counts that are not ordered, which no binary spikes can give."""
    counts = counts_of(graph)
    return [
        node.name
        for node in graph.nodes
        if isinstance(node, MaxPool)
        and node.inputs[0] in counts
        and not counts[node.inputs[0]].ordered
    ]


def reading_counts(graph: Graph) -> dict[str, Counts]:
    """The counts, and with them the means over pixels of counts."""
    counts = counts_of(graph)
    pools = {
        node.name: counts[node.inputs[0]]
        for node in graph.nodes
        if isinstance(node, Pool) and node.inputs[0] in counts
    }
    return counts | pools
