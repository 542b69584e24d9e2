"""Which values of a graph are counts of spikes, and how they are made of spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from spikesight.errors import UserError
from spikesight.graph.vocabulary import (
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
    Node,
    Output,
    Pool,
    Position,
    Rearrange,
    Resize,
    Sample,
    SpikeSum,
    Synapse,
)


@dataclass(frozen=True)
class Counts:
    """A value that is a unit times a count of spikes.

    Attributes:
        levels: Largest count per time step: D of a neuron, the sum of both for an addition.
        unit: Value of one count.
        ordered: Whether sub-step d holds a spike where the count is at least d, as a neuron's
            does. The maximum of such counts is the maximum of their spikes, sub-step by sub-step.
            A sum of counts is expanded into the sub-steps of both, a product into each of one with
            each of the other; neither is ordered, unless a factor is binary.
    """

    levels: int
    unit: float
    ordered: bool

    def __add__(self, other: Counts) -> Counts:
        """The spikes of both, one after the other."""
        return Counts(self.levels + other.levels, self.unit, ordered=False)

    def __mul__(self, other: Counts) -> Counts:
        """Every sub-step of one AND every sub-step of the other; binary spikes only mask."""
        masks = 1 in (self.levels, other.levels)
        ordered = masks and self.ordered and other.ordered
        return Counts(self.levels * other.levels, self.unit * other.unit, ordered)


def counts_of(graph: Graph) -> dict[str, Counts]:
    """Finds the values that are counts: of neurons, and maxima, sums, products and permutations.

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
        counts = _of_node(node, sources)
        if counts is not None:
            found[node.name] = counts
    return found


def _of_node(node: Node, sources: list[Counts]) -> Counts | None:
    """What a node makes of those of its inputs that are counts; None if that is no count."""
    match node:
        case Neuron(dynamics=None):
            return None
        case Neuron(dynamics=dynamics):
            assert dynamics is not None
            return Counts(dynamics.levels, dynamics.unit, ordered=True)
        case MaxPool() | Rearrange():
            return sources[0] if sources else None
        case Add():
            same = len(sources) == 2 and sources[0].unit == sources[1].unit
            return sources[0] + sources[1] if same else None
        case Gate():
            return sources[0] * sources[1] if len(sources) == 2 else None
        case Input() | Synapse() | AttentionProduct() | SpikeSum() | Pool() | Output():
            return None
        case Resize() | Sample() | MaskProduct() | CurrentProduct():
            return None
        case Embedding() | Position():
            return None
    assert_never(node)


def require_ordered_maxima(graph: Graph, error: type[UserError]) -> None:
    """Raises an error where a maximum is over counts that are not ordered."""
    counts = counts_of(graph)
    for node in graph.nodes:
        if isinstance(node, MaxPool):
            source = counts.get(node.inputs[0])
            if source is not None and not source.ordered:
                raise error(
                    f"{node.name} takes the maximum of sums of counts or products, which binary "
                    "spikes cannot give; pool a neuron's spikes or the currents before it"
                )


def reading_counts(graph: Graph) -> dict[str, Counts]:
    """The counts, and with them the means over pixels of counts."""
    counts = counts_of(graph)
    pools = {
        node.name: counts[node.inputs[0]]
        for node in graph.nodes
        if isinstance(node, Pool) and node.inputs[0] in counts
    }
    return counts | pools
