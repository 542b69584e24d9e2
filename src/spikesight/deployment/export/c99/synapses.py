"""The C of synapses, and of what else slides over a map."""

from __future__ import annotations

from spikesight.deployment.export.c99.context import Context, NodeText, structure, value_of
from spikesight.deployment.export.c99.integer_types import INT32, IntegerType
from spikesight.deployment.export.c99.layers import Layer
from spikesight.deployment.export.c99.tables import dense_weights, depthwise_weights, in_halves
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import accumulator

_INT8 = IntegerType(8, signed=True)
_HALF_A_BYTE = 4


def write_synapse(node: integer.Synapse, layer: Layer, context: Context) -> NodeText:
    """The C of a convolution or matrix."""
    (source,) = context.sources(node)
    outputs, inputs, kernel = (*node.weight.shape, 1)[:3]
    name, weights = f"synapse_{layer.index}", f"weights_{layer.index}"
    depthwise = node.groups == source.channels == outputs
    halves = node.bits <= _HALF_A_BYTE and not depthwise
    rows = depthwise_weights(node.weight) if depthwise else dense_weights(node.weight, node.groups)
    row = rows.shape[1]
    if halves:
        rows = in_halves(rows)
    order = "[C]" if depthwise else "[C_in][C_out / groups]"
    packing = ", two to a byte" if halves else ""
    context.table(
        weights,
        rows,
        f"{layer.label}: weights of {node.bits} bits [{kernel}][{kernel}]{order}{packing}",
        (_INT8,),
    )
    constant = structure(
        "convolution",
        name,
        height=source.height,
        width=source.width,
        groups=node.groups,
        inputs=inputs,
        outputs=1 if depthwise else row,
        kernel=kernel,
        stride=node.stride,
        padding=node.padding,
        row=rows.shape[1],
        weights=weights,
    )
    if depthwise:
        function = context.kernels.use("convolve_depthwise", SOURCE=source.type)
    else:
        form = "halves" if halves else "bytes"
        function = context.kernels.use("convolve", SOURCE=source.type, WEIGHTS=form)
    statements = [f"{function}(&{name}, {value_of(source)}, y, x, pixel_values);"]
    if bool(node.shift.any() or node.bias.any()):
        # A sum that is always zero may have a shift that no integer survives.
        dead = accumulator(node, source.reach.interval).magnitude == 0
        shift = node.shift.clamp(max=0) if dead else node.shift
        context.table(
            f"shift_{layer.index}", shift, f"{layer.label}: bits to the left per channel", (_INT8,)
        )
        context.table(
            f"bias_{layer.index}", node.bias, f"{layer.label}: bias per channel", (INT32,)
        )
        land = context.kernels.use("shift_and_bias")
        statements.append(
            f"{land}({outputs}, shift_{layer.index}, bias_{layer.index}, pixel_values);"
        )
    return NodeText(_meaning(node, kernel, depthwise), statements, [constant])


def _meaning(node: integer.Synapse, kernel: int, depthwise: bool) -> str:
    if node.is_linear:
        return f"matrix of {node.bits} bits"
    kind = "depthwise convolution" if depthwise else "convolution"
    meaning = f"{kind} {kernel}x{kernel} of {node.bits} bits"
    if node.stride > 1:
        meaning += f", stride {node.stride}"
    if node.groups > 1 and not depthwise:
        meaning += f", {node.groups} groups"
    return meaning


def write_maximum(node: integer.MaxPool, layer: Layer, context: Context) -> NodeText:
    """The C of a maximum over windows."""
    (source,) = context.sources(node)
    constant = structure(
        "window",
        f"window_{layer.index}",
        height=source.height,
        width=source.width,
        channels=source.channels,
        kernel=node.kernel,
        stride=node.stride,
        padding=node.padding,
    )
    kernel = context.kernels.use("maximum", SOURCE=source.type)
    statement = f"{kernel}(&window_{layer.index}, {value_of(source)}, y, x, pixel_values);"
    meaning = f"maximum over {node.kernel}x{node.kernel} pixels, stride {node.stride}"
    return NodeText(meaning, [statement], [constant])
