"""The C of neurons: thresholds on currents where there is no membrane, else all of the equation."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.deployment.export.c99.context import Context, NodeText, structure
from spikesight.deployment.export.c99.integer_types import INT16, INT32, narrowest
from spikesight.deployment.export.c99.layers import Layer
from spikesight.deployment.export.exactness import ExportError
from spikesight.graph import integer_vocabulary as integer

_MOST = 2**31
# Beyond what 32 bits reach, shifted by 28 bits; products of this size are within 64 bits.
_UNREACHED = 2**60


def write_neuron(
    node: integer.Neuron, layer: Layer, context: Context, inside: str | None
) -> NodeText:
    """The C of a neuron.

    Args:
        node: The neuron.
        layer: Its layer.
        context: What has been written so far.
        inside: The node whose integers are in `pixel_values`, if any.

    Raises:
        ExportError: If 32 bits do not hold a step of its equation.
    """
    (source,) = context.sources(node)
    text = NodeText(_meaning(node), context.read(source, inside))
    if node.steps == 1 or node.leak.kind == "none":
        _fire(node, layer, context, text)
    else:
        _integrate(node, layer, context, text)
    return text


def _meaning(node: integer.Neuron) -> str:
    meaning = f"neuron, D = {node.levels}"
    if node.steps > 1:
        leak = node.leak.kind if node.leak.shift == 0 else f"{node.leak.kind} {node.leak.shift}"
        meaning += f", leak {leak}, {node.reset} reset"
    return meaning


def _fire(node: integer.Neuron, layer: Layer, context: Context, text: NodeText) -> None:
    """A neuron without memory compares the current itself; bias and shift are in thresholds."""
    (source,) = context.sources(node)
    low, high = int(source.reach.interval.low.min()), int(source.reach.interval.high.max())
    if (max(-low, high) << node.shift) >= _UNREACHED or high + 1 >= _MOST:
        raise ExportError(f"{node.name} compares more than 32 bits; deploy with fewer weight_bits")
    pixels = source.reach.pixels
    limit = _UNREACHED // pixels
    potential = (node.thresholds.clamp(-limit, limit) - node.bias[:, None]) * pixels
    # The least current that, shifted, is as large.
    current = -(-potential >> node.shift)
    thresholds = _ascending(current.clamp(low, high + 1))
    table = context.table(
        f"thresholds_{layer.index}",
        thresholds,
        f"{layer.label}: thresholds [{len(thresholds)}][{node.levels}] of its current",
        (INT16, INT32),
    )
    kernel = context.kernels.use("fire", THRESHOLD=table.type)
    stride = _stride(thresholds, node.levels)
    arguments = f"{layer.channels}, {node.levels}, {stride}, {table.name}, pixel_values"
    text.statements.append(f"{kernel}({arguments});")


def _integrate(node: integer.Neuron, layer: Layer, context: Context, text: NodeText) -> None:
    (source,) = context.sources(node)
    assert layer.membrane is not None
    pixels, bound = source.reach.pixels, layer.membrane.interval.magnitude
    current = source.reach.interval.magnitude << node.shift
    limit = _UNREACHED // pixels
    potential = node.thresholds.clamp(-limit, limit) * pixels
    thresholds = _ascending(potential.clamp(-bound, bound + 1))
    step, bias = node.step * pixels, node.bias * pixels
    if max(current, bound + 1, int(step.max()) * node.levels, int(bias.abs().max())) >= _MOST:
        raise ExportError(f"{node.name} adds more than 32 bits; deploy with fewer weight_bits")
    index, rows = layer.index, len(thresholds)
    name = f"neuron_{index}"
    fields: dict[str, int | str] = {"channels": layer.channels, "levels": node.levels}
    fields["scale"] = 1 << node.shift if current else 1
    fields["leak"] = node.leak.shift
    for field, values, meaning in (
        ("thresholds", thresholds, f"thresholds [{rows}][{node.levels}] of its membrane"),
        ("step", step, "what a spike takes from its membrane"),
        ("bias", bias, "what a time step adds to its membrane"),
    ):
        stride = _stride(values, node.levels if field == "thresholds" else 1)
        context.table(f"{field}_{index}", values, f"{layer.label}: {meaning}", (INT32,))
        fields |= {f"{field}_stride": stride, field: f"{field}_{index}"}
    text.constants.append(structure("neuron", name, **fields))
    membrane = narrowest(-bound, bound, (INT16, INT32))
    assert membrane is not None
    context.membranes.append((layer, membrane))
    kernel = context.kernels.use(
        "integrate", LEAK=node.leak.kind, RESET=node.reset, MEMBRANE=membrane
    )
    place = f"membrane_{index} + {layer.channels} * pixel"
    text.statements.append(f"{kernel}(&{name}, {place}, pixel_values);")


def _ascending(thresholds: Tensor) -> Tensor:
    """In the order in which they are reached; how many are does not depend on it."""
    return torch.sort(thresholds, dim=1).values


def _stride(rows: Tensor, width: int) -> int:
    return 0 if len(rows) == 1 else width
