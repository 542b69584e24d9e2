"""The C of the nodes that only segmenters have."""

from __future__ import annotations

from spikesight.deployment.export.c99.context import (
    Context,
    NodeText,
    pixel_of,
    structure,
    value_of,
)
from spikesight.deployment.export.c99.integer_types import narrowest
from spikesight.deployment.export.c99.layers import Layer
from spikesight.deployment.export.c99.tables import Table
from spikesight.deployment.runtime.segmenter import position
from spikesight.graph import integer_vocabulary as integer


def embedding_table(node: integer.Embedding, layer: Layer) -> Table:
    """Learned currents as a constant array [Q][C]."""
    meaning = f"{layer.label}: learned currents {layer.size}"
    return Table.of(value_of(layer), node.value[0, :, 0].T, meaning)


def write_position(node: integer.Position, layer: Layer, context: Context) -> NodeText:
    """The C of sines and cosines of rows and columns, whose integers are constant arrays."""
    integers = position(node, layer.height, layer.width).long()[0]
    half = layer.channels // 2
    rows, columns = integers[:half, :, 0].T, integers[half:, 0].T
    assert bool((integers[:half] == rows.T[:, :, None]).all())
    assert bool((integers[half:] == columns.T[:, None]).all())
    narrow = narrowest(int(integers.min()), int(integers.max()))
    assert narrow is not None
    for name, values in (("rows", rows), ("columns", columns)):
        meaning = f"{layer.label}: positions of {name} [{len(values)}][{half}]"
        context.table(f"{name}_{layer.index}", values, meaning, (narrow,))
    kernel = context.kernels.use("position", TABLE=narrow)
    row, column = f"rows_{layer.index} + {half} * y", f"columns_{layer.index} + {half} * x"
    return NodeText("position", [f"{kernel}({half}, {row}, {column}, pixel_values);"])


def write_resize(node: integer.Resize, layer: Layer, context: Context) -> NodeText:
    """The C of a map at twice its size, or as it is."""
    source, _ = context.sources(node)
    if (source.height, source.width) == (layer.height, layer.width):
        return NodeText("map as it is", context.read(source, None))
    kernel = context.kernels.use("double", SOURCE=source.type)
    size = f"{source.height}, {source.width}, {source.channels}"
    return NodeText("map doubled", [f"{kernel}({size}, {value_of(source)}, y, x, pixel_values);"])


def write_sample(node: integer.Sample, layer: Layer, context: Context) -> NodeText:
    """The C of deformable sampling."""
    value, offset, weight = context.sources(node)
    name = f"sampling_{layer.index}"
    constant = structure(
        "sampling",
        name,
        height=layer.height,
        width=layer.width,
        groups=node.groups,
        channels=layer.channels // node.groups,
        side=node.side,
        offset_bits=node.offset_shift,
        position_bits=node.position_bits,
    )
    kernel = context.kernels.use("sample", VALUE=value.type, OFFSET=offset.type, WEIGHT=weight.type)
    places = f"{value_of(value)}, {pixel_of(offset)}, {pixel_of(weight)}"
    statement = f"{kernel}(&{name}, {places}, y, x, pixel_values);"
    return NodeText(f"sampling at {node.side}x{node.side} points", [statement], [constant])


def write_mask_product(node: integer.MaskProduct, layer: Layer, context: Context) -> NodeText:
    """The C of every query's mask."""
    embedding, features = context.sources(node)
    kernel = context.kernels.use("mask", EMBEDDING=embedding.type, FEATURES=features.type)
    sizes = f"{layer.channels}, {features.channels}, {node.inhibitory}"
    places = f"{value_of(embedding)}, {pixel_of(features)}"
    return NodeText("masks of queries", [f"{kernel}({sizes}, {places}, pixel_values);"])
