"""Ranges: which integers each value of a deployed network can reach, proved from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.graph.operations import Shape

ACCUMULATOR_BITS = 32
EXACT_IN_FLOAT32 = 2**24


class RangeError(UserError):
    """A value of a network does not fit into the accumulator."""


@dataclass(frozen=True)
class Reach:
    """What is known of a value.

    Attributes:
        interval: The integers that it can reach.
        shape: Its shape at the largest input.
        pixels: Pixels that it is the sum of.
    """

    interval: integer.Interval
    shape: Shape
    pixels: int = 1


def prove_ranges(graph: integer.Graph) -> dict[str, Reach]:
    """Bounds every value of a network over all inputs up to its largest size.

    Args:
        graph: The network.

    Returns:
        The reach of every node's output, and under ``name + ".membrane"`` of a membrane.

    Raises:
        RangeError: If 32 bits do not suffice; names layer and bits.
    """
    reaches: dict[str, Reach] = {}
    for node in graph.nodes:
        reaches |= prove_node(node, reaches, graph.max_size)
    return reaches


def prove_node(
    node: integer.Node, reaches: Mapping[str, Reach], max_size: tuple[int, int]
) -> dict[str, Reach]:
    """Bounds one node's output and membrane.

    Args:
        node: The node.
        reaches: The reach of everything that it reads, by name.
        max_size: Largest height and width of an input.

    Returns:
        As `prove_ranges` does, for this node.

    Raises:
        RangeError: If 32 bits do not suffice.
    """
    proved = reach_of(node, [reaches[name] for name in node.inputs], max_size)
    for name, reach in proved.items():
        _require_bits(name, reach.interval.magnitude, max_size)
    return proved


def _require_bits(name: str, magnitude: int, max_size: tuple[int, int]) -> None:
    bits = magnitude.bit_length() + 1
    if bits > ACCUMULATOR_BITS:
        raise RangeError(
            f"{name} needs {bits} bits for inputs of {max_size[0]}x{max_size[1]} pixels, more than "
            f"{ACCUMULATOR_BITS}; pass a smaller max_size, fewer stream_bits or weight_bits"
        )


def reach_of(
    node: integer.Node, inputs: list[Reach], max_size: tuple[int, int]
) -> dict[str, Reach]:
    """The reach of one node's output and membrane from those of its inputs."""
    if isinstance(node, integer.Input):
        shape = node.infer_shape(Shape(node.channels, max_size))
    else:
        shape = node.infer_shape(*(reach.shape for reach in inputs))
    pixels = 1
    match node:
        case integer.Input(low=low, high=high):
            interval = _constant(low, high, shape)
        case integer.Synapse():
            interval = _synapse(node, inputs[0].interval)
        case integer.Neuron():
            interval = _constant(0, node.levels, shape)
        case integer.Add():
            first, second = (reach.interval for reach in inputs)
            interval = _interval(first.low + second.low, first.high + second.high)
        case integer.Gate():
            gated, by = (reach.interval.high for reach in inputs)
            highest = gated * by.repeat_interleave(len(gated) // len(by))
            interval = _interval(torch.zeros_like(highest), highest)
        case integer.SpikeSum(over=over, heads=heads):
            highest, tokens = inputs[0].interval.high, inputs[0].shape.pixels
            highest = highest * tokens if over == "tokens" else highest.view(heads, -1).sum(1)
            interval = _interval(torch.zeros_like(highest), highest)
        case integer.Attention(heads=heads):
            query, key, value = (int(reach.interval.high.max()) for reach in inputs)
            tokens = inputs[1].shape.pixels
            bound = query * key * value * tokens * (shape.channels // heads)
            _require_bits(node.name, bound, max_size)
            interval = _constant(0, bound, shape)
            pixels = tokens if node.mean else 1
        case integer.Pool():
            pixels = inputs[0].shape.pixels
            source = inputs[0].interval
            _require_bits(node.name, source.magnitude * pixels, max_size)
            # A smaller input sums fewer pixels, so zero is always within.
            lowest = (source.low * pixels).clamp(max=0)
            highest = (source.high * pixels).clamp(min=0)
            interval = _interval(lowest, highest)
        case integer.MaxPool():
            interval = inputs[0].interval
        case integer.Output(steps=steps):
            source = inputs[0].interval
            interval = _interval(source.low * steps, source.high * steps)
        case integer.Embedding(value=value):
            flat = value.flatten(2)[0]
            interval = _interval(flat.amin(1), flat.amax(1))
        case integer.Position(shift=shift):
            interval = _constant(-(1 << shift), 1 << shift, shape)
        case integer.Resize():
            interval = inputs[0].interval
            # The sum before it is rounded has sixteenths.
            _require_bits(node.name, 16 * interval.magnitude + 8, max_size)
        case integer.Sample(side=side, position_bits=bits):
            sampled, _, weights = (reach.interval for reach in inputs)
            most = (sampled.magnitude << (2 * bits)) + (1 << (2 * bits))
            _require_bits(node.name, most, max_size)
            reached = _size(sampled) * side**2 * int(weights.high.max())
            interval = _interval(-reached, reached)
        case integer.MaskProduct():
            embedding, features = (reach.interval for reach in inputs)
            bound = int((embedding.high * _size(features)).sum())
            interval = _constant(-bound, bound, shape)
        case _:
            assert_never(node)
    reaches = {node.name: Reach(interval, shape, pixels)}
    if isinstance(node, integer.Neuron) and node.steps > 1:
        reaches[f"{node.name}.membrane"] = _membrane(node, inputs[0])
    return reaches


def _size(interval: integer.Interval) -> Tensor:
    return torch.maximum(interval.low.abs(), interval.high.abs())


def accumulator(node: integer.Synapse, source: integer.Interval) -> integer.Interval:
    """The reach of a synapse's bare sum of weights times inputs."""
    group_in = node.weight.shape[1]
    group_out = node.weight.shape[0] // node.groups
    weight = (
        node.weight.long().flatten(2) if node.weight.ndim > 2 else node.weight.long()[..., None]
    )

    def per_output(values: Tensor) -> Tensor:
        return values.view(node.groups, 1, group_in).expand(-1, group_out, -1).flatten(0, 1)

    low, high = per_output(source.low), per_output(source.high)
    if node.padding:
        low, high = low.clamp(max=0), high.clamp(min=0)
    positive = weight.clamp(min=0).sum(-1)
    negative = weight.clamp(max=0).sum(-1)
    lowest = (positive * low + negative * high).sum(1)
    highest = (positive * high + negative * low).sum(1)
    size = torch.maximum(low.abs(), high.abs())
    magnitude = int((weight.abs().sum(-1) * size).sum(1).max())
    return integer.Interval(lowest, highest, magnitude)


def scale_at(graph: integer.Graph, size: tuple[int, int]) -> float:
    """Real value of one unit of the logits for inputs of one size.

    Args:
        graph: The network.
        size: Height and width of the inputs.

    Returns:
        The output's scale; larger for smaller inputs where the logits are sums over pixels.
    """
    output = graph.output
    pool = graph.by_name[output.inputs[0]]
    if not isinstance(pool, integer.Pool):
        return output.scale
    largest, pixels = (
        prove_ranges(replace(graph, max_size=each))[pool.name].pixels
        for each in (graph.max_size, size)
    )
    return output.scale * largest / pixels


def potential_of(node: integer.Neuron, reaches: Mapping[str, Reach]) -> int:
    """The largest magnitude that a neuron compares, of a potential or a threshold."""
    source = reaches[node.inputs[0]]
    bias = int(node.bias.abs().max()) * source.pixels
    potential = (source.interval.magnitude << node.shift) + bias
    membrane = reaches.get(f"{node.name}.membrane")
    if membrane is not None:
        potential = max(potential, membrane.interval.magnitude)
    return max(potential, int(node.thresholds.abs().max()) * source.pixels)


def _synapse(node: integer.Synapse, source: integer.Interval) -> integer.Interval:
    total = accumulator(node, source)
    left, right = node.shift.long().clamp(min=0), (-node.shift.long()).clamp(min=0)
    bias = node.bias.long()
    low, high = (total.low << left) + bias, (total.high << left) + bias
    magnitude = max(
        (total.magnitude << int(left.max())) + int(bias.abs().max()), _magnitude(low, high)
    )
    return integer.Interval(low >> right, high >> right, magnitude)


def _membrane(node: integer.Neuron, source: Reach) -> Reach:
    bias = node.bias * source.pixels
    low = (source.interval.low << node.shift) + bias
    high = (source.interval.high << node.shift) + bias
    # What a step adds, and what a leak or reset can leave, is within the sum over the steps.
    step = int(node.step.abs().max()) * node.levels * source.pixels
    bound = node.steps * (_magnitude(low, high) + step)
    return Reach(_constant(-bound, bound, source.shape), source.shape)


def _constant(low: int, high: int, shape: Shape) -> integer.Interval:
    return _interval(torch.full((shape.channels,), low), torch.full((shape.channels,), high))


def _interval(low: Tensor, high: Tensor) -> integer.Interval:
    return integer.Interval(low, high, _magnitude(low, high))


def _magnitude(low: Tensor, high: Tensor) -> int:
    return int(torch.maximum(low.abs(), high.abs()).max())
