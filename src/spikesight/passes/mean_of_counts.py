"""The linear map of a mean of counts, moved before the mean so that it reads spikes."""

from __future__ import annotations

from dataclasses import replace

from spikesight.graph import Graph, Node, Pool, Synapse
from spikesight.graph.counts import counts_of


def map_before_mean(graph: Graph) -> Graph:
    """Swaps the mean over pixels of counts with the linear map that reads it, which commute.

    Args:
        graph: The folded network.

    Returns:
        A graph with the same function, in which a pointwise convolution reads the counts.
    """
    counts = counts_of(graph)
    pools = {
        reader.name: node
        for node in graph.nodes
        if isinstance(node, Pool) and node.inputs[0] in counts
        for reader in graph.consumers[node.name]
        if isinstance(reader, Synapse) and len(graph.consumers[node.name]) == 1
    }
    swapped = {pool.name for pool in pools.values()}
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in swapped:
            continue
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        if isinstance(node, Synapse) and node.name in pools:
            pool = pools[node.name]
            factors = tuple(replace(f, weight=f.weight[:, :, None, None]) for f in node.factors)
            nodes.append(replace(node, inputs=pool.inputs, factors=factors))
            nodes.append(replace(pool, inputs=(node.name,)))
            renamed[node.name] = pool.name
        else:
            nodes.append(replace(node, inputs=inputs))
    return replace(graph, nodes=tuple(nodes))
