"""The C of each node: constants, and statements that compute one pixel's channels."""

from __future__ import annotations

from typing import assert_never

from spikesight.deployment.export.c99.context import (
    Context,
    NodeText,
    pixel_of,
    structure,
    value_of,
)
from spikesight.deployment.export.c99.layers import Layer
from spikesight.deployment.export.c99.neurons import write_neuron
from spikesight.deployment.export.c99.segmenter_nodes import (
    write_mask_product,
    write_position,
    write_resize,
    write_sample,
)
from spikesight.deployment.export.c99.synapses import write_maximum, write_synapse
from spikesight.graph import integer_vocabulary as integer


def write_node(node: integer.Node, context: Context, inside: str | None) -> NodeText:
    """The C of a node of a stage.

    Args:
        node: The node.
        context: What has been written so far.
        inside: The node whose integers are in `pixel_values`, if any.

    Raises:
        ExportError: If 32 bits do not hold a step of its arithmetic; names the node.
    """
    layer = context.layers[node.name]
    match node:
        case integer.Synapse():
            return write_synapse(node, layer, context)
        case integer.Neuron():
            return write_neuron(node, layer, context, inside)
        case integer.Add():
            return _add(node, context, inside)
        case integer.Gate():
            return _gate(node, layer, context, inside)
        case integer.SpikeSum(over="tokens") | integer.Pool():
            return _sum_pixels(node, context)
        case integer.SpikeSum():
            return _sum_channels(node, context)
        case integer.CurrentProduct():
            return _current_product(node, context)
        case integer.Attention():
            return _attention(node, layer, context)
        case integer.MaxPool():
            return write_maximum(node, layer, context)
        case integer.Position():
            return write_position(node, layer, context)
        case integer.Resize():
            return write_resize(node, layer, context)
        case integer.Sample():
            return write_sample(node, layer, context)
        case integer.MaskProduct():
            return write_mask_product(node, layer, context)
        case integer.Output():
            (source,) = context.sources(node)
            kernel = context.kernels.use("add_to_output")
            target = f"output_{layer.index} + {layer.channels} * pixel"
            statement = f"{kernel}({layer.channels}, pixel_values, {target});"
            return NodeText("output", [*context.read(source, inside), statement])
        case integer.Input() | integer.Embedding():
            raise AssertionError(f"{node.name} is computed by no stage")
    assert_never(node)


def _add(node: integer.Add, context: Context, inside: str | None) -> NodeText:
    first, second = context.sources(node)
    # The map first, where one embedding is added to every pixel; or what is at hand.
    if second.node.name == inside or (inside is None and first.pixels < second.pixels):
        first, second = second, first
    kernel = context.kernels.use("add", SOURCE=second.type)
    statement = f"{kernel}({second.channels}, {pixel_of(second)}, pixel_values);"
    return NodeText("sum", [*context.read(first, inside), statement])


def _gate(node: integer.Gate, layer: Layer, context: Context, inside: str | None) -> NodeText:
    gated, by = context.sources(node)
    kernel = context.kernels.use("gate", SOURCE=by.type)
    served = layer.channels // by.channels
    statement = f"{kernel}({layer.channels}, {served}, {pixel_of(by)}, pixel_values);"
    return NodeText("gate", [*context.read(gated, inside), statement])


def _sum_pixels(node: integer.SpikeSum | integer.Pool, context: Context) -> NodeText:
    (source,) = context.sources(node)
    kernel = context.kernels.use("sum_pixels", SOURCE=source.type)
    sizes = f"{source.pixels}, {source.channels}"
    return NodeText("sum over pixels", [f"{kernel}({sizes}, {value_of(source)}, pixel_values);"])


def _sum_channels(node: integer.SpikeSum, context: Context) -> NodeText:
    (source,) = context.sources(node)
    kernel = context.kernels.use("sum_channels", SOURCE=source.type)
    sizes = f"{node.heads}, {source.channels // node.heads}"
    statement = f"{kernel}({sizes}, {pixel_of(source)}, pixel_values);"
    return NodeText("sum over each head's channels", [statement])


def _current_product(node: integer.CurrentProduct, context: Context) -> NodeText:
    current, spikes = context.sources(node)
    by_kernel = {"channels": "compare", "keys": "attend"}
    types = {"CURRENT": current.type, "SPIKES": spikes.type}
    kernel = context.kernels.use(by_kernel[node.over], **types)
    sizes = f"{node.heads}, {node.keys}, {current.channels // node.heads}"
    statement = f"{kernel}({sizes}, {value_of(current)}, {pixel_of(spikes)}, pixel_values);"
    return NodeText(f"sums of a current over {node.over}", [statement])


def _attention(node: integer.Attention, layer: Layer, context: Context) -> NodeText:
    query, key, value = context.sources(node)
    memory = context.memory.of_contexts[node.name]
    name, matrix = f"attention_{layer.index}", f"context_{layer.index}"
    width, depth = key.channels // node.heads, value.channels // node.heads
    sizes = {"tokens": key.pixels, "heads": node.heads, "width": width, "depth": depth}
    constant = structure("attention", name, **sizes)
    remember = context.kernels.use("remember", KEY=key.type, VALUE=value.type, CONTEXT=memory.type)
    recall = context.kernels.use("recall", QUERY=query.type, CONTEXT=memory.type)
    return NodeText(
        f"attention of {node.heads} heads",
        [f"{recall}(&{name}, {pixel_of(query)}, {matrix}, pixel_values);"],
        [constant],
        [f"{remember}(&{name}, {value_of(key)}, {value_of(value)}, {matrix});"],
    )
