"""Which products of counts and weights OpenVINO's CPU plugin may take in int8, without an error."""

from __future__ import annotations

from collections.abc import Mapping

from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32, Reach


class Int8Products:
    """Answers for the values of one network.

    Without VNNI the plugin adds pairs of products in 16 bits, which counts and weights must not
    fill.

    Args:
        graph: The network.
        reaches: What is proved of its values.
    """

    def __init__(self, graph: integer.Graph, reaches: Mapping[str, Reach]) -> None:
        self._graph = graph
        self._reaches = reaches

    def peak(self, name: str) -> int:
        """The largest count of a value that has 8 bits; 0 if it is no count or has more."""
        largest = self._reaches[name].interval.magnitude
        return largest if name in self._graph.counts and largest <= 255 else 0

    def of_synapse(self, node: integer.Synapse) -> bool:
        """Whether it may multiply what it reads by its weights so."""
        source = self._graph.by_name[node.inputs[0]]
        if isinstance(source, integer.Input):
            # A signed input is read as an unsigned one.
            peak = source.high - source.low
        else:
            peak = self.peak(source.name)
        return peak > 0 and 2 * peak * int(node.weight.long().abs().max()) < 2**15

    def are_keys(self, node: integer.Neuron) -> bool:
        """Whether only attention reads a neuron, as keys that it may multiply so."""
        return node.levels < 128 and all(
            isinstance(reader, integer.Attention)
            and [i for i, name in enumerate(reader.inputs) if name == node.name] == [1]
            # Two would read a product to be split: as with convolutions, that is not exact.
            and self._reaches[reader.name].interval.magnitude < EXACT_IN_FLOAT32
            and 0 < 2 * node.levels * self.peak(reader.inputs[2]) < 2**15
            for reader in self._graph.consumers[node.name]
        )
