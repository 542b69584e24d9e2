"""Where values lie: one array per integer type, shared by those not needed at the same time."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.deployment.export.c99.integer_types import INT32, IntegerType, narrowest
from spikesight.deployment.export.c99.layers import Layers
from spikesight.deployment.export.c99.stages import Stage, reads_pixel_by_pixel, values_read
from spikesight.graph import integer_vocabulary as integer


@dataclass
class Buffer:
    """A part of an array that one value after another has.

    Attributes:
        type: Of its integers.
        elements: How many it holds.
        first: The first stage that needs it.
        last: The last one.
        offset: Where it begins in the array of its type.
    """

    type: IntegerType
    elements: int
    first: int
    last: int
    offset: int = 0


@dataclass(frozen=True)
class Memory:
    """The buffers of a network.

    Arrays are of one type each, since C forbids to read one type through another.

    Attributes:
        of_values: The buffer of each value that outlives its loop, by the node's name.
        of_contexts: The buffer of K^T V of each attention, by the node's name.
    """

    of_values: dict[str, Buffer]
    of_contexts: dict[str, Buffer]

    @property
    def arrays(self) -> dict[IntegerType, int]:
        """Elements of each type's array."""
        sizes: dict[IntegerType, int] = {}
        for buffer in [*self.of_values.values(), *self.of_contexts.values()]:
            end = buffer.offset + buffer.elements
            sizes[buffer.type] = max(sizes.get(buffer.type, 0), end)
        return sizes

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(one.bytes * elements for one, elements in self.arrays.items())


def plan_memory(stages: list[Stage], layers: Layers) -> Memory:
    """Gives every value that a later stage reads a place.

    Args:
        stages: The network's stages.
        layers: Its layers.
    """
    last_read = {name: index for index, stage in enumerate(stages) for name in values_read(stage)}
    of_values: dict[str, Buffer] = {}
    of_contexts: dict[str, Buffer] = {}
    for index, stage in enumerate(stages):
        for node in stage:
            if isinstance(node, integer.Attention):
                of_contexts[node.name] = _context(node, layers, index)
        layer = layers[stage[-1].name]
        if isinstance(layer.node, integer.Output):
            continue
        last = last_read.get(layer.node.name, index)
        for name in values_read(stage):
            # What dies here, and is read at each place before it is written there, gives its place.
            left = of_values.get(name)
            fits = left is not None and left.last == index and left.type == layer.type
            if left is not None and fits and reads_pixel_by_pixel(stage, name, layers):
                left.last = last
                of_values[layer.node.name] = left
                break
        else:
            of_values[layer.node.name] = Buffer(layer.type, layer.elements, index, last)
    memory = Memory(of_values, of_contexts)
    buffers = {id(b): b for b in [*of_values.values(), *of_contexts.values()]}
    _place(list(buffers.values()))
    return memory


def _context(node: integer.Attention, layers: Layers, stage: int) -> Buffer:
    key, value = (layers[name] for name in node.inputs[1:])
    bound = int(key.reach.interval.high.max()) * int(value.reach.interval.high.max()) * key.pixels
    narrow = narrowest(0, bound) or INT32
    return Buffer(narrow, key.channels * (value.channels // node.heads), stage, stage)


def _place(buffers: list[Buffer]) -> None:
    """The largest first, each as low as those beside it in time leave room."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda one: -one.elements):
        offset = 0
        beside = [
            other
            for other in placed
            if other.type == buffer.type
            and other.first <= buffer.last
            and buffer.first <= other.last
        ]
        for other in sorted(beside, key=lambda one: one.offset):
            if offset + buffer.elements <= other.offset:
                break
            offset = max(offset, other.offset + other.elements)
        buffer.offset = offset
        placed.append(buffer)
