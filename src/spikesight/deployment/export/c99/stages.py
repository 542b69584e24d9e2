"""Which nodes share a loop over pixels, so that what passes between them takes no memory."""

from __future__ import annotations

from spikesight.deployment.export.c99.layers import Layers, sources_of
from spikesight.graph import integer_vocabulary as integer

Stage = tuple[integer.Node, ...]
"""A node and those that follow it pixel by pixel."""


def stages_of(graph: integer.Graph, layers: Layers) -> list[Stage]:
    """The stages of a network, in an order in which each follows what it reads.

    A node joins the stage of the one before it if that is read by nobody else, pixel by pixel.

    Args:
        graph: The network.
        layers: Its layers.
    """
    stages: list[Stage] = []
    for node in graph.nodes:
        if isinstance(node, integer.Input | integer.Embedding):
            continue
        if stages and _follows(node, stages[-1][-1], graph, layers):
            stages[-1] = (*stages[-1], node)
        else:
            stages.append((node,))
    return stages


def _follows(
    node: integer.Node, before: integer.Node, graph: integer.Graph, layers: Layers
) -> bool:
    readers = graph.consumers[before.name]
    own, source = layers[node.name], layers[before.name]
    same = (own.height, own.width, own.channels) == (source.height, source.width, source.channels)
    once = readers == (node,) and node.inputs.count(before.name) == 1
    match node:
        case integer.Neuron() | integer.Output() | integer.Add():
            return once and same
        case integer.Gate():
            return once and node.inputs[0] == before.name
        case _:
            return False


def values_read(stage: Stage) -> list[str]:
    """Names of the nodes outside of a stage whose integers it reads."""
    within = {node.name for node in stage}
    names = [name for node in stage for name in sources_of(node) if name not in within]
    return list(dict.fromkeys(names))


def reads_pixel_by_pixel(stage: Stage, name: str, layers: Layers) -> bool:
    """Whether a stage reads each pixel of a value just before it writes its own at that place."""
    target = layers[stage[-1].name]
    for node in stage:
        if name not in sources_of(node):
            continue
        elementwise = isinstance(node, integer.Neuron | integer.Add) or (
            isinstance(node, integer.Gate) and node.inputs[1] != name
        )
        if not elementwise or layers[name].elements != target.elements:
            return False
    return True
