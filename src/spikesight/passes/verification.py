"""Verify: the model, its folded graph and its binary spikes, compared layer by layer."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikesight import neurons
from spikesight.errors import UserError
from spikesight.graph import Graph, Neuron, Node, execute, trace
from spikesight.graph.tracing import image_part
from spikesight.models.outputs import tensors_of
from spikesight.neurons.recording import NeuronRecorder
from spikesight.passes.batches import checked_inputs
from spikesight.passes.folding import fold
from spikesight.passes.unrolling import Spikes, unroll
from spikesight.reports.text_table import text_table


@dataclass(frozen=True)
class LayerCheck:
    """How one neuron layer compares.

    Attributes:
        name: The neuron's path in the model.
        elements: Compared counts, T * B * C * H * W.
        model_mismatches: Counts of the model that differ from the folded graph's.
        spike_mismatches: Counts of the folded graph that differ from the summed binary spikes.
        non_binary: Spike elements that are neither 0 nor 1.
        firing_rate: Mean spike, in [0, 1].
    """

    name: str
    elements: int
    model_mismatches: int
    spike_mismatches: int
    non_binary: int
    firing_rate: float


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        layers: One check per neuron, first to last.
        output_error: Largest difference between the model's output and the spikes', relative to
            the largest output.
        dtype: The floating-point type that was compared in.
    """

    layers: tuple[LayerCheck, ...]
    output_error: float
    dtype: torch.dtype

    @property
    def mismatches(self) -> int:
        """Differing and non-binary elements over all layers."""
        return sum(c.model_mismatches + c.spike_mismatches + c.non_binary for c in self.layers)

    @property
    def silent(self) -> list[str]:
        """Neurons that never fired: about these the comparison proves nothing."""
        return [check.name for check in self.layers if check.firing_rate == 0.0]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.mismatches == 0

    def table(self) -> str:
        """The checks as text."""
        rows = [
            (
                check.name,
                f"{check.elements:,}",
                str(check.model_mismatches),
                str(check.spike_mismatches),
                f"{check.firing_rate:.4f}",
            )
            for check in self.layers
        ]
        header = ("neuron", "elements", "model != graph", "graph != spikes", "firing rate")
        silent = f", {len(self.silent)} of {len(self.layers)} neurons silent" if self.silent else ""
        return (
            text_table(header, rows)
            + f"\n{self.mismatches} mismatches in {str(self.dtype).removeprefix('torch.')}"
            + f", output error {self.output_error:.1e}{silent}"
        )


@torch.no_grad()
def verify(model: nn.Module, x: Tensor, *, dtype: torch.dtype = torch.float64) -> Verification:
    """Runs a model, its folded graph and its T x D binary simulation and counts differences.

    Args:
        model: A spiking model; it is not changed. Of one with host code within it is what reads the
            image, up to that code.
        x: Images [B, C, H, W] or frames [B, T, C, H, W].
        dtype: Arithmetic of all three. In float64 equality is to be expected; in lower precision
            a rounding error can flip a spike.

    Returns:
        The differences per layer.

    Raises:
        UserError: If the model is an ANN or cannot be traced, or the batch is empty.
    """
    if not dtype.is_floating_point:
        raise UserError(f"dtype is {dtype}; pass torch.float64 (exact) or torch.float32")
    x = checked_inputs(x)
    model = image_part(copy.deepcopy(model).to(dtype).eval())
    x = x.to(dtype)
    graph = fold(trace(model, x))
    simulation = unroll(graph)
    model_counts, outputs = _model_counts(model, x)
    graph_counts, _ = counts_of(graph, x)
    totals: dict[str, Tensor] = {}
    rates: dict[str, float] = {}
    non_binary: dict[str, int] = {}
    summed: dict[str, list[Tensor]] = {node.name: [] for node in graph.neurons}

    def record(node: Neuron, _: int, spikes: Spikes) -> None:
        summed[node.name].append(torch.stack(spikes).sum(0))
        wrong = sum(int(((s != 0) & (s != 1)).sum()) for s in spikes)
        non_binary[node.name] = non_binary.get(node.name, 0) + wrong

    spike_outputs = simulation.run(x, record)
    for node in graph.neurons:
        assert node.dynamics is not None
        totals[node.name] = torch.cat(summed[node.name])
        rates[node.name] = totals[node.name].mean().item() / node.dynamics.levels
    layers = tuple(
        LayerCheck(
            name=node.name,
            elements=totals[node.name].numel(),
            model_mismatches=int((model_counts[node.name] != graph_counts[node.name]).sum()),
            spike_mismatches=int((graph_counts[node.name] != totals[node.name]).sum()),
            non_binary=non_binary[node.name],
            firing_rate=rates[node.name],
        )
        for node in graph.neurons
    )
    errors = [_error(*pair) for pair in zip(outputs, spike_outputs, strict=True)]
    return Verification(layers, max(errors), dtype)


def _error(output: Tensor, spike_output: Tensor) -> float:
    scale = output.abs().max().clamp_min(torch.finfo(output.dtype).tiny)
    return float((output - spike_output).abs().max() / scale)


def _model_counts(model: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    counts: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def note(name: str, neuron: neurons.Neuron, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        call = name if calls[name] == 1 else f"{name}#{calls[name]}"
        counts[call] = torch.round(output / neuron.unit)

    with NeuronRecorder(model, note):
        output = model(x)
    return counts, tuple(tensors_of(output))


def counts_of(graph: Graph, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The counts of every neuron of a graph, time-major [T*B, ...] by name, and its last output.

    Args:
        graph: The network.
        x: Images or frames in its dtype.
    """
    counts: dict[str, Tensor] = {}

    def record(node: Node, _: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(node, Neuron):
            assert node.dynamics is not None
            counts[node.name] = torch.round(output / node.dynamics.unit)

    return counts, execute(graph, x, record)
