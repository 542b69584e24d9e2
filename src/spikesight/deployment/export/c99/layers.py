"""What a C99 file knows of each node: its number, its map's size, the type of its integers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spikesight.deployment.export.c99.integer_types import IntegerType, narrowest
from spikesight.deployment.export.exactness import ExportError, prove_at
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import Reach


@dataclass(frozen=True)
class Layer:
    """A node for inputs of one size.

    Attributes:
        index: Its number.
        node: The node.
        height: Of its map in pixels; 1 of a vector or of queries.
        width: Of its map; 1 of a vector, the queries of queries.
        channels: Its channels.
        type: The narrowest type that holds its integers.
        reach: What is proved of it.
        membrane: What is proved of its membrane, of neurons over several time steps.
    """

    index: int
    node: integer.Node
    height: int
    width: int
    channels: int
    type: IntegerType
    reach: Reach
    membrane: Reach | None = None

    @property
    def pixels(self) -> int:
        """Pixels of its map."""
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Its integers per time step."""
        return self.pixels * self.channels

    @property
    def size(self) -> str:
        """Its shape as a comment in C says it; channels are innermost."""
        return f"[{self.height}][{self.width}][{self.channels}]"

    @property
    def label(self) -> str:
        """Its name, without what could end a comment, a string or a file's name."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.node.name)


Layers = dict[str, Layer]


def layers_of(graph: integer.Graph, size: tuple[int, int]) -> Layers:
    """The layers of a network, by the names of their nodes, in order.

    Args:
        graph: The network.
        size: Height and width of the inputs.

    Raises:
        ExportError: If a map has more elements than 32 bits count.
        UserError: If the network does not take this size.
    """
    reaches = prove_at(graph, size)
    layers: Layers = {}
    for index, node in enumerate(graph.nodes):
        reach = reaches[node.name]
        low, high = int(reach.interval.low.min()), int(reach.interval.high.max())
        narrow = narrowest(low, high)
        assert narrow is not None, "a range was proved that 32 bits do not hold"
        height, width = (*reach.shape.size, 1, 1)[:2]
        layers[node.name] = layer = Layer(
            index,
            node,
            height,
            width,
            reach.shape.channels,
            narrow,
            reach,
            reaches.get(f"{node.name}.membrane"),
        )
        if layer.elements >= 2**31:
            raise ExportError(f"{node.name} has more elements than 32 bits count")
    return layers


def sources_of(node: integer.Node) -> tuple[str, ...]:
    """Names of the nodes whose integers a node reads; of some others it reads the shape alone."""
    match node:
        case integer.Embedding() | integer.Position():
            return ()
        case integer.Resize():
            return node.inputs[:1]
        case _:
            return node.inputs
