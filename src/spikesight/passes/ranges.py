"""Ranges: which integers each value of a deployed network can reach, proved from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.graph.operations import Shape

ACCUMULATOR_BITS = 32
EXACT_IN_FLOAT32 = 2**24
_LARGEST_WEIGHT = 2**7
Reach = integer.Reach


class RangeError(UserError):
    """A value of a network does not fit into the accumulator."""


def prove_ranges(graph: integer.Graph) -> dict[str, Reach]:
    """Bounds every value of a network over all inputs up to its largest size.

    A graph keeps what was proved of it, so it is proved once.

    Args:
        graph: The network.

    Returns:
        The reach of every node's output, and under ``name + ".membrane"`` of a membrane.

    Raises:
        RangeError: If 32 bits do not suffice; names layer and bits.
    """
    if not graph.proved:
        reaches: dict[str, Reach] = {}
        for node in graph.nodes:
            reaches |= prove_node(node, reaches, graph.max_size)
        graph.proved.update(reaches)
    return dict(graph.proved)


def prove_node(
    node: integer.Node,
    reaches: Mapping[str, Reach],
    max_size: tuple[int, int],
    accumulated: integer.Interval | None = None,
) -> dict[str, Reach]:
    """Bounds one node's output and membrane.

    Args:
        node: The node.
        reaches: The reach of everything that it reads, by name.
        max_size: Largest height and width of an input.
        accumulated: Of a synapse, what `accumulator` gave, where that is known already.

    Returns:
        As `prove_ranges` does, for this node.

    Raises:
        RangeError: If 32 bits do not suffice.
    """
    inputs = [reaches[name] for name in node.inputs]
    proved = reach_of(node, inputs, max_size, accumulated)
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
    node: integer.Node,
    inputs: list[Reach],
    max_size: tuple[int, int],
    accumulated: integer.Interval | None = None,
) -> dict[str, Reach]:
    """The reach of one node's output and membrane from those of its inputs, as `prove_node`."""
    if isinstance(node, integer.Input):
        shape = node.infer_shape(Shape(node.channels, max_size))
    else:
        shape = node.infer_shape(*(reach.shape for reach in inputs))
    pixels = 1
    match node:
        case integer.Input(low=low, high=high):
            interval = _constant(low, high, shape)
        case integer.Synapse():
            accumulated = accumulated or accumulator(node, inputs[0].interval)
            interval = _shifted(node, accumulated)
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
        case integer.CurrentProduct():
            current, spikes = inputs
            interval = _sums_of_current(node, current, spikes, max_size)
        case integer.Attention(heads=heads):
            query, key, value = (int(reach.interval.high.max()) for reach in inputs)
            tokens = inputs[1].shape.pixels
            bound = query * key * value * tokens * (inputs[0].shape.channels // heads)
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
    reaches = {node.name: Reach(interval, shape, pixels, accumulated)}
    if isinstance(node, integer.Neuron) and node.steps > 1:
        reaches[f"{node.name}.membrane"] = _membrane(node, inputs[0])
    return reaches


def _sums_of_current(
    node: integer.CurrentProduct, current: Reach, spikes: Reach, max_size: tuple[int, int]
) -> integer.Interval:
    """Every spike adds an element once, so the elements of one sign bound every partial sum."""
    low, high = current.interval.low.clamp(max=0), current.interval.high.clamp(min=0)
    # What float64 does not hold is far too wide.
    counts, *ends = (x.double().view(node.heads, -1) for x in (spikes.interval.high, low, high))
    if node.over == "keys":
        low, high = ((end * counts.sum(1, keepdim=True)).flatten() for end in ends)
    else:
        low, high = ((end * counts).sum(1).repeat_interleave(node.keys) for end in ends)
    _require_bits(node.name, int(torch.maximum(-low, high).max()), max_size)
    return _interval(low.long(), high.long())


def _size(interval: integer.Interval) -> Tensor:
    return torch.maximum(interval.low.abs(), interval.high.abs())


def accumulator(node: integer.Synapse, source: integer.Interval) -> integer.Interval:
    """The reach of a synapse's bare sum of weights times inputs."""
    low, high = source.low, source.high
    if node.padding:
        low, high = low.clamp(max=0), high.clamp(min=0)
    size = torch.maximum(low.abs(), high.abs())
    weight = by_group(node.weight, node.groups)
    bound = _LARGEST_WEIGHT * weight.shape[-1] * int(size.max())
    dtype = torch.int32 if bound < 2**31 else torch.int64
    positive, negative = weight.clamp(min=0).to(dtype), weight.clamp(max=0).to(dtype)
    low, high, size = (
        for_each_weight(values, node.weight, node.groups).to(dtype) for values in (low, high, size)
    )
    return integer.Interval(
        (positive @ low + negative @ high).flatten().long(),
        (positive @ high + negative @ low).flatten().long(),
        int((positive @ size - negative @ size).max()),
    )


def by_group(weight: Tensor, groups: int) -> Tensor:
    """A kernel or matrix as one matrix per group, [groups, C_out / groups, K]."""
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def for_each_weight(values: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Values of input channels [C_in] as columns [groups, K, 1] beside `by_group`."""
    return values.repeat_interleave(weight[0, 0].numel()).view(groups, -1, 1)


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
    largest, pixels = (graph.shapes(each)[pool.inputs[0]].pixels for each in (graph.max_size, size))
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


def _shifted(node: integer.Synapse, total: integer.Interval) -> integer.Interval:
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
