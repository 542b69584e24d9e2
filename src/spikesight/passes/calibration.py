"""Calibration: what an integer network needs to know of real inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spikesight.errors import UserError
from spikesight.graph import Graph, Input, Neuron, Node, Pool, Synapse, execute
from spikesight.passes.batches import inputs_of, require_finite, require_samples
from spikesight.passes.fixed_point import LEAST_PEAK


@dataclass(frozen=True)
class Calibration:
    """Statistics of a network on real inputs.

    Attributes:
        peak: Largest magnitude of a normalised input value.
        mean_inputs: Mean [C] of the input, of every neuron's output and of what else a synapse
            reads, by name.

    Raises:
        UserError: If the peak is as good as zero, so that every other input would be clipped.
    """

    peak: float
    mean_inputs: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.peak < LEAST_PEAK:
            raise UserError(
                f"the largest magnitude of the inputs is {self.peak:g}, which would clip every "
                "other input; pass normalised inputs such as the network will see"
            )


def peak_of(inputs: Tensor) -> float:
    """The largest magnitude of normalised inputs.

    Args:
        inputs: A batch [B, C, H, W] or [B, T, C, H, W].

    Raises:
        UserError: If the batch is empty or holds a value that is not finite.
    """
    require_samples(inputs)
    require_finite(inputs)
    return float(inputs.abs().max())


def calibrate(graph: Graph, batches: Iterable[object]) -> Calibration:
    """Measures a network on real inputs.

    Args:
        graph: The folded network.
        batches: Batches of normalised inputs [B, C, H, W] (frames [B, T, C, H, W]), or of
            (inputs, labels), such as a loader.

    Returns:
        The statistics over all batches.

    Raises:
        UserError: If there is no batch, one holds no tensor, is empty, not finite or does not fit
            the network, or all are as good as zero.
    """
    dtype = next(node.factors[0].weight.dtype for node in graph.nodes if hasattr(node, "factors"))
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    read = {node.inputs[0] for node in graph.nodes if isinstance(node, Synapse | Pool)}

    def record(node: Node, _: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(node, Input | Neuron) or node.name in read:
            by_channel = output.double().transpose(0, 1).flatten(1)
            sums[node.name] = sums.get(node.name, torch.zeros(())) + by_channel.sum(1)
            counts[node.name] = counts.get(node.name, 0) + by_channel.shape[1]

    peak = 0.0
    for inputs in inputs_of(batches):
        peak = max(peak, peak_of(inputs))
        execute(graph, inputs.cpu().to(dtype), record)
    if not counts:
        raise UserError("there is no batch to calibrate on; pass a tensor's chunks or a loader")
    return Calibration(peak, {name: sums[name] / counts[name] for name in sums})
