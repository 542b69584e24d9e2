"""The linear map of a mean over pixels, moved before the mean."""

from __future__ import annotations

from dataclasses import replace

import torch

from spikesight.graph import Affine, Graph, Node, Pool, Synapse
from spikesight.graph.counts import counts_of


def map_before_mean(graph: Graph) -> Graph:
    """Swaps the mean over pixels with the linear map that alone reads it, which commute.

    So the map reads counts, where these are averaged. Of currents it reads rounded ones: before it
    comes a factor of ones, which an integer network gives a grid of its own.

    Args:
        graph: The folded network.

    Returns:
        A graph with the same function, in which a pointwise convolution reads every pixel.
    """
    counts = counts_of(graph)
    pools = {
        reader.name: node
        for node in graph.nodes
        if isinstance(node, Pool)
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
            if pool.inputs[0] not in counts:
                factors = (_ones(factors[0]), *factors)
            nodes.append(replace(node, inputs=pool.inputs, factors=factors))
            nodes.append(replace(pool, inputs=(node.name,)))
            renamed[node.name] = pool.name
        else:
            nodes.append(replace(node, inputs=inputs))
    return replace(graph, nodes=tuple(nodes))


def _ones(reader: Affine) -> Affine:
    """A factor that changes nothing, with weights that are integers already."""
    ones = torch.ones_like(reader.weight[0, :, 0, 0])
    return Affine(ones.view(-1, 1, 1, 1), groups=len(ones), step=ones)
