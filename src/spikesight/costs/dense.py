"""What a dense network computes: multiply-accumulates of every part of a node, by shapes alone."""

from __future__ import annotations

from typing import assert_never

from spikesight.graph import Node, Rearrange, Synapse, integer_vocabulary as integer, operations
from spikesight.graph.operations import Elementwise, Shape


def dense_parts(node: Node | integer.Node, inputs: list[Shape]) -> list[tuple[str, float]]:
    """The parts of a node that cost something, for one sample and one time step.

    Four multiply-accumulates per interpolated value; one per gated value, per weighted sample and
    per channel of a mask's pixel. A sum multiplies nothing, and neither is a factor counted that
    scales and shifts each channel: other layers take it in.

    Args:
        node: The node.
        inputs: The shapes of what it reads.

    Returns:
        (kind, multiply-accumulates) of every factor of a synapse, or of every part of a product.
    """
    match node:
        case Synapse(factors=factors):
            shapes = node.factor_shapes(inputs[0])
            return [
                ("synapse", 0.0 if f.is_diagonal else float(given.elements * f.weight[0].numel()))
                for f, given in zip(factors, shapes, strict=True)
            ]
        case integer.Synapse(weight=weight):
            return [("synapse", float(node.infer_shape(*inputs).elements * weight[0].numel()))]
        case operations.AnyAttention(heads=heads):
            query, key, value = inputs
            macs = (query.elements + key.elements) * (value.channels // heads)
            return [("attention product", float(macs))]
        case operations.AnyGate():
            return [("gate", float(inputs[0].elements))]
        case operations.AnySpikeSum():
            return [("spike sum", 0.0)]
        case operations.AnyCurrentProduct():
            current, spikes = inputs
            return [("current product", float(spikes.elements * node.sums(current)))]
        case operations.AnyMaskProduct():
            embedding, features = inputs
            return [("mask product", float(embedding.pixels * features.elements))]
        case operations.AnyResize():
            return [("upsampling", 4.0 * inputs[0].channels * inputs[1].pixels)]
        case operations.AnySample(side=side):
            samples = float(inputs[0].elements * side**2)
            return [("bilinear sampling", 4.0 * samples), ("attention weights", samples)]
        case (
            operations.AnyInput()
            | Elementwise()
            | operations.AnyAdd()
            | operations.AnyPool()
            | operations.AnyMaxPool()
        ):
            return []
        case operations.AnyEmbedding() | operations.AnyPosition() | Rearrange():
            return []
    assert_never(node)
