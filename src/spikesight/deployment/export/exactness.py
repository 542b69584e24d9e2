"""What an exact export asks of a network, whatever the format: ranges, splits, equal counts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spikesight.deployment.runtime.integers import Counts, IntegerExecutor
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32, Reach, accumulator, prove_ranges

LOGITS = "logits"
"""Name of the output of a model of one output."""


class ExportError(UserError):
    """A network has no exact form in another runtime; says which layer and why."""


def prove_at(graph: integer.Graph, size: tuple[int, int]) -> dict[str, Reach]:
    """Bounds every value of a network for inputs of one size.

    Args:
        graph: The network.
        size: Height and width of the inputs.

    Returns:
        As `prove_ranges` does.

    Raises:
        UserError: If the network does not take this size.
    """
    stride = graph.input.stride
    if min(size) < 1 or size[0] % stride or size[1] % stride:
        raise UserError(
            f"size {size[0]}x{size[1]} is not divisible by the network's stride {stride}; "
            "export a multiple of it"
        )
    graph.check_size(*size)
    return prove_ranges(graph if size == graph.max_size else replace(graph, max_size=size))


def output_names(graph: integer.Graph) -> list[str]:
    """What the outputs of a network are called in the models of other runtimes, in order."""
    outputs = graph.outputs
    if len(outputs) == 1:
        return [LOGITS]
    if any(node.of_queries for node in outputs):
        return ["class_logits" if node.of_queries else "mask_logits" for node in outputs]
    return [f"{LOGITS}_{number}" for number in range(len(outputs))]


def refuse_segmenter(node: integer.Node | None, runtime: str, reason: str) -> None:
    """Raises ExportError for a node of segmenters.

    Args:
        node: The first one without an exact form; None if all have one.
        runtime: Name of what the network was to be written for.
        reason: Why that has no exact form of it.
    """
    if node is not None:
        raise ExportError(
            f"{node.name} is a segmenter's: {runtime} {reason}; export to .onnx, or run the "
            "deployed network in PyTorch"
        )


def split_of(node: integer.Synapse, source: integer.Interval) -> int:
    """Bits at which to split a synapse's input so that float32 accumulates each part exactly.

    Args:
        node: The synapse.
        source: What its input can reach.

    Returns:
        0 if the input need not be split; s if both its quotient and its remainder by 2^s can be
        accumulated.

    Raises:
        ExportError: If no split suffices.
    """
    if accumulator(node, source).magnitude < EXACT_IN_FLOAT32:
        return 0
    bits = source.magnitude.bit_length() // 2
    remainder = integer.Interval(
        torch.zeros_like(source.low), torch.full_like(source.high, 2**bits - 1), 2**bits - 1
    )
    low, high = source.low >> bits, source.high >> bits
    quotient = integer.Interval(low, high, (source.magnitude >> bits) + 1)
    for part in (quotient, remainder):
        reach = accumulator(node, part)
        if reach.magnitude >= EXACT_IN_FLOAT32:
            raise ExportError(
                f"{node.name} accumulates {reach.bits} bits from each half of its input, more "
                "than float32 holds; deploy with fewer weight_bits"
            )
    return bits


def folded_neurons(graph: integer.Graph) -> dict[str, integer.Neuron]:
    """Neurons whose gain and offset can enter the synapse before them, by that synapse's name."""
    folded: dict[str, integer.Neuron] = {}
    for node in graph.nodes:
        match node, graph.consumers[node.name]:
            case integer.Synapse(), (integer.Neuron(rounding=integer.Rounding()) as reader,):
                if not bool(node.shift.any() or node.bias.any()):
                    folded[node.name] = reader
    return folded


def refuse_difference(
    graph: integer.Graph, x: Tensor, runtime: str, counts: Counts, logits: Tensor
) -> None:
    """Raises ExportError at the first layer in which a runtime differs from the integer network.

    Args:
        graph: The network.
        x: What the runtime read.
        runtime: Its name.
        counts: The runtime's counts [T*B, ...] per neuron; those missing are not compared.
        logits: The runtime's logits [B, K].
    """
    expected, expected_logits = IntegerExecutor(graph).observe(x)
    for name, own in expected.items():
        differing = int((counts[name].to(own) != own).sum()) if name in counts else 0
        if differing:
            raise ExportError(
                f"{runtime} computes {differing} of {own.numel()} counts of {name} differently; "
                "the export is not exact on this machine and was not written"
            )
    if not torch.equal(logits.to(expected_logits), expected_logits):
        raise ExportError(
            f"{runtime} computes other logits at {graph.output.name}; the export is not exact on "
            "this machine and was not written"
        )
