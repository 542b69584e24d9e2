"""What counts cost those that read them: fan-out in multiply-accumulates, and what zeros save."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from spikesight.costs.dense import dense_parts
from spikesight.graph import Graph, Neuron, Node, Synapse, integer_vocabulary as integer, operations
from spikesight.graph.counts import reading_counts
from spikesight.graph.operations import Shape


def operand_macs(node: Node | integer.Node, inputs: Sequence[Shape]) -> dict[int, float]:
    """Multiply-accumulates of a node that a zero count saves, by the operand that holds it.

    An attention product expands K against V, then Q against their product; V itself is added up.
    A product of gates is saved by a zero on either side.

    Args:
        node: The node.
        inputs: The shapes of what it reads.

    Returns:
        Per sample and time step, by the position among the node's inputs.
    """
    match node:
        case Synapse() | integer.Synapse() | operations.AnyMaskProduct():
            return {0: dense_parts(node, list(inputs))[0][1]}
        case operations.AnyAttention(heads=heads):
            query, key, value = inputs
            per_count = value.channels // heads
            return {0: float(query.elements * per_count), 1: float(key.elements * per_count)}
        case operations.AnyGate():
            return dict.fromkeys((0, 1), float(inputs[0].elements))
        case operations.AnyCurrentProduct():
            return {1: dense_parts(node, list(inputs))[0][1]}
        case operations.AnySample():
            return {2: dense_parts(node, list(inputs))[1][1]}
        case _:
            return {}


def nonzero_operands(
    node: Node | integer.Node, inputs: Sequence[Shape], shares: Mapping[str, float]
) -> float | None:
    """Share of the counts that a node reads that are not zero, operands weighted by their MACs.

    Args:
        node: The node.
        inputs: The shapes of what it reads.
        shares: The nonzero share of every value that is a count, by name.

    Returns:
        The share in [0, 1]; None where it reads no count.
    """
    macs = {
        node.inputs[position]: cost
        for position, cost in operand_macs(node, inputs).items()
        if node.inputs[position] in shares
    }
    total = sum(macs.values())
    return sum(shares[name] * cost for name, cost in macs.items()) / total if total else None


def reading_macs(graph: Graph, size: tuple[int, int]) -> dict[str, float]:
    """Multiply-accumulates that are done with the counts of each neuron, if none is zero.

    What reads a maximum, a mean, a sum or a product of counts reads those of every neuron in it.

    Args:
        graph: A folded network.
        size: Height and width of its input.

    Returns:
        Per sample and time step, by the neuron's name; 0 where only real values come of it.
    """
    shapes = graph.shapes(size)
    return cost_by_neuron(
        graph, lambda node: operand_macs(node, [shapes[name] for name in node.inputs])
    )


def cost_by_neuron(graph: Graph, costs: Callable[[Node], Mapping[int, float]]) -> dict[str, float]:
    """What readers pay for counts, summed by the neurons that the counts come from.

    Args:
        graph: A folded network.
        costs: Of a node, by the position among its inputs.

    Returns:
        By the neuron's name; 0 where only real values come of it.
    """
    counted = reading_counts(graph)
    made_of: dict[str, frozenset[str]] = {}
    summed: dict[str, float] = defaultdict(float)
    for node in graph.nodes:
        for position, cost in costs(node).items():
            for neuron in made_of.get(node.inputs[position], ()):
                summed[neuron] += cost
        if isinstance(node, Neuron):
            summed[node.name] = 0.0
            made_of[node.name] = frozenset((node.name,))
        elif node.name in counted:
            made_of[node.name] = frozenset().union(*(made_of[name] for name in node.inputs))
    return dict(summed)
