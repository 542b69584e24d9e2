"""Whether the nodes of an integer network, from a file, fit together and can be proved."""

from __future__ import annotations

import math
from typing import assert_never

import torch

from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.graph.operations import Shape, ShapeError
from spikesight.passes.ranges import EXACT_IN_FLOAT32, RangeError, prove_ranges
from spikesight.passes.thresholds import agrees

_MOST_CHANNELS_OF_ALL_NODES = 2**22
_MOST_PIXELS = 2**31
_MOST_SUB_STEPS = 2**16


class InvalidNetworkError(UserError):
    """Nodes are no network."""


def check_network(graph: integer.Graph) -> None:
    """Refuses nodes that are no network, whoever wrote them.

    Fields are taken to be within the limits of their types, and inputs to exist.

    Args:
        graph: The network.

    Raises:
        InvalidNetworkError: If nodes do not fit together, a range cannot be proved, or a rounding
            form is not the thresholds'; names the node.
    """
    images = [node for node in graph.nodes if isinstance(node, integer.Input)]
    if len(images) != 1 or graph.nodes[0] is not images[0]:
        raise InvalidNetworkError("there is not exactly one IntegerInput, first of the nodes")
    if not isinstance(graph.nodes[-1], integer.Output):
        raise InvalidNetworkError("there is no IntegerOutput, last of the nodes")
    ends = {node.name for node in graph.nodes if isinstance(node, integer.Output)}
    shapes: dict[str, Shape] = {}
    for node in graph.nodes:
        _require(node, not ends.intersection(node.inputs), "it reads an output")
        inputs = [shapes[name] for name in node.inputs]
        try:
            shape = node.infer_shape(*inputs or [Shape(graph.input.channels, graph.max_size)])
        except ShapeError as error:
            raise InvalidNetworkError(str(error)) from None
        _check_fields(node, inputs, graph)
        fits = shape.pixels <= _MOST_PIXELS
        _require(node, fits, f"it gives a map of {shape.size} pixels at {graph.max_size}")
        shapes[node.name] = shape
    if sum(shape.channels for shape in shapes.values()) > _MOST_CHANNELS_OF_ALL_NODES:
        raise InvalidNetworkError("the nodes have more channels than any network")
    try:
        reaches = prove_ranges(graph)
    except (RangeError, OverflowError, RuntimeError) as error:
        # The latter two are torch's, for a bound beyond 64 bits.
        raise InvalidNetworkError(f"the ranges cannot be proved: {error}") from None
    for name in graph.counts:
        if reaches[name].interval.magnitude > _MOST_SUB_STEPS:
            raise InvalidNetworkError(f"{name!r} sums more spikes per time step than any network")
    for neuron in graph.neurons:
        if neuron.rounding is not None:
            magnitude = reaches[neuron.inputs[0]].interval.magnitude
            _check_rounding(neuron, neuron.rounding, magnitude)


def _check_fields(node: integer.Node, inputs: list[Shape], graph: integer.Graph) -> None:
    """What a node asks beside shapes that fit."""
    match node:
        case integer.Input():
            _require(node, node.low <= node.high, "low is above high")
        case integer.Synapse():
            outputs = node.weight.shape[0]
            _require(node, len(node.shift) == outputs, "shift is not one per channel")
            _require(node, len(node.bias) == outputs, "bias is not one per channel")
            plain = not node.is_linear or (node.stride, node.padding, node.groups) == (1, 0, 1)
            _require(node, plain, "a matrix has stride 1, padding 0 and groups 1")
        case integer.Neuron():
            _check_neuron(node, inputs[0].channels, graph)
        case integer.Gate() | integer.SpikeSum():
            _require_counts(node, graph)
        case integer.CurrentProduct():
            _require_counts(node, graph, node.inputs[1])
        case integer.Attention():
            counts = all(isinstance(graph.by_name[name], integer.Neuron) for name in node.inputs)
            _require(node, counts, "it reads something else than neurons")
        case integer.MaxPool():
            counted = graph.counts.get(node.inputs[0])
            ordered = counted is None or counted.ordered
            _require(node, ordered, "no spikes are the maximum of sums of counts or products")
        case integer.Output():
            _require(node, node.steps == graph.input.steps, "steps are not those of the input")
            _require(node, 0 < node.scale < math.inf, f"scale is {node.scale}")
            queries = inputs[0].fixed and inputs[0].size[:1] == (1,)
            _require(node, queries or not node.of_queries, "it reads no queries")
        case integer.Sample(side=side):
            fits = inputs[0].channels * side**2 <= _MOST_CHANNELS_OF_ALL_NODES
            _require(node, fits, "it samples more values than any network")
            _require_counts(node, graph, node.inputs[2])
        case integer.MaskProduct():
            _require_counts(node, graph, node.inputs[0])
        case integer.Add() | integer.Pool() | integer.Embedding() | integer.Position():
            pass
        case integer.Resize():
            pass
        case _:
            assert_never(node)


def _require_counts(node: integer.Node, graph: integer.Graph, *sources: str) -> None:
    """Refuses a node of whose inputs, or those named, one is no count of spikes."""
    for source in sources or node.inputs:
        _require(node, source in graph.counts, f"{source!r} is no neuron and no count of spikes")


def _check_neuron(node: integer.Neuron, channels: int, graph: integer.Graph) -> None:
    _require(node, node.steps == graph.input.steps, "steps are not those of the input")
    rows, levels = node.thresholds.shape
    _require(node, levels == node.levels, f"{levels} thresholds for {node.levels} levels")
    for field, count in (("thresholds", rows), ("step", len(node.step)), ("bias", len(node.bias))):
        _require(node, count in (1, channels), f"{field} are for {count} channels of {channels}")
    ascending = bool((node.thresholds.diff(dim=1) >= 0).all())
    _require(node, ascending, "thresholds do not ascend")
    source = graph.by_name[node.inputs[0]]
    of_keys = isinstance(source, integer.Attention) and source.mean
    of_pixels = of_keys or isinstance(source, integer.Pool)
    _require(node, node.per_pixel == of_pixels, "per_pixel is not whether it reads a pool")
    if node.steps == 1:
        at_rest = (of_keys or node.shift == 0) and not bool(node.bias.any())
        _require(node, at_rest, "over one step its shift and bias are zero")
    if node.rounding is not None:
        _require(node, node.steps == 1 and not of_pixels, "a rounding form cannot serve it")


def _require(node: integer.Node, holds: bool, problem: str) -> None:
    if not holds:
        raise InvalidNetworkError(f"{node.name!r}: {problem}")


def _check_rounding(node: integer.Neuron, form: integer.Rounding, magnitude: int) -> None:
    """Whether a rounding form is free of errors and gives the counts of the thresholds."""
    rows = len(node.thresholds)
    same = len(form.gain) == len(form.offset) == rows
    _require(node, same, "rounding is for other channels than thresholds")
    gain, offset = form.gain.double(), form.offset.double()
    finite = bool(((gain > 0) & gain.isfinite() & offset.isfinite()).all())
    _require(node, finite, "rounding has a gain that is not positive or a value not finite")
    # The finest grid on which every intermediate result is an integer below 2^24.
    _, exponent = torch.frexp(gain * magnitude + offset.abs() + 1)
    grid = torch.exp2(exponent.double() - math.log2(EXACT_IN_FLOAT32))
    exact = not bool(((gain / grid) % 1).any()) and not bool(((offset / grid) % 1).any())
    _require(node, exact, "float32 does not compute its rounding without error")
    _require(node, agrees(node, form), "rounding and thresholds differ")
