"""Audit: every operation of a deployed network, by class, with its count and cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor

from spikesight.attention.mask_product import mask_product
from spikesight.costs.fan_out import accumulations
from spikesight.costs.prices import (
    ACCUMULATE_PJ,
    INTEGER_ADD_PJ,
    INTEGER_MULTIPLY_ACCUMULATE_PJ,
    MULTIPLY_ACCUMULATE_PJ,
    SHIFTABLE_OFFSET_BITS,
)
from spikesight.deployment.network import Deployed
from spikesight.deployment.runtime.integers import IntegerExecutor, Observer
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.batches import inputs_of
from spikesight.reports.text_table import si_number, text_table


@dataclass(frozen=True)
class Operations:
    """Operations per sample, over all time steps.

    Attributes:
        accumulates: Additions of a weight or an accumulated integer, one per spike and target.
        additions: Additions that happen whether or not there are spikes: biases, shortcuts, sums
            over pixels and time.
        comparisons: Shifts, comparisons and subtractions of thresholds, leaks.
        multiplies: Multiply-accumulates.
    """

    accumulates: float = 0.0
    additions: float = 0.0
    comparisons: float = 0.0
    multiplies: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __truediv__(self, number: float) -> Operations:
        return Operations(*(getattr(self, f.name) / number for f in fields(self)))

    @property
    def integer_picojoules(self) -> float:
        """Energy in 45 nm integer arithmetic (Horowitz 2014).

        Memory is not counted.
        """
        simple = self.accumulates + self.additions + self.comparisons
        return INTEGER_ADD_PJ * simple + INTEGER_MULTIPLY_ACCUMULATE_PJ * self.multiplies

    @property
    def paper_picojoules(self) -> float:
        """Energy as the papers count it; all but accumulates and multiplies is free."""
        return ACCUMULATE_PJ * self.accumulates + MULTIPLY_ACCUMULATE_PJ * self.multiplies


@dataclass(frozen=True)
class LayerAudit:
    """The operations of one node.

    Attributes:
        name: The layer's path in the model.
        kind: "image", "first layer", "synapse", "real-valued synapse", "neuron", "shortcut",
            "spike shortcut" (its readers accumulate the spikes of both branches; nothing is
            added), "gate" (an AND of spikes, or additions of counts above 1 by the spikes of the
            other), "spike sum", "current product", "attention", "pool", "maximum", "embedding",
            "position", "upsampling", "bilinear sampling", "mask product" or "output".
        operations: Per sample.
    """

    name: str
    kind: str
    operations: Operations


@dataclass(frozen=True)
class Audit:
    """What a deployed network computes on real inputs.

    Attributes:
        layers: One entry per node, first to last.
        samples: Inputs that were averaged over.
    """

    layers: tuple[LayerAudit, ...]
    samples: int

    @property
    def total(self) -> Operations:
        """All operations per sample."""
        return sum((layer.operations for layer in self.layers), Operations())

    @property
    def offenders(self) -> list[str]:
        """Layers beyond the first that multiply."""
        return [
            layer.name
            for layer in self.layers
            if layer.operations.multiplies and layer.kind != "first layer"
        ]

    @property
    def spike_driven(self) -> bool:
        """Whether no multiplication is left beyond the first layer."""
        return not self.offenders

    def table(self) -> str:
        """The audit as text."""
        rows = [_row(layer.name, layer.kind, layer.operations) for layer in self.layers]
        rows.append(_row("total", "", self.total))
        header = ("layer", "kind", "accumulate", "add", "shift/compare", "multiply", "nJ int")
        verdict = "yes" if self.spike_driven else f"no: {', '.join(self.offenders)} multiply"
        return (
            text_table(header, rows)
            + f"\nper sample, mean of {self.samples}. Spike-driven: {verdict}"
            + f"\n{self.total.integer_picojoules / 1e3:,.1f} nJ in 45 nm integers "
            + f"({INTEGER_ADD_PJ} pJ per addition, shift or comparison, "
            + f"{INTEGER_MULTIPLY_ACCUMULATE_PJ} pJ per 8-bit multiply-accumulate); "
            + f"{self.total.paper_picojoules / 1e3:,.1f} nJ as the papers count "
            + f"({ACCUMULATE_PJ} pJ per accumulate, {MULTIPLY_ACCUMULATE_PJ} pJ per "
            + "multiply, the rest free). Memory not counted"
        )

    def to_html(self, path: str | Path) -> None:
        """Writes the audit as one self-contained page; its folder is made if it is not there.

        Args:
            path: The file.
        """
        from spikesight.costs.audit_page import audit_page
        from spikesight.files.replacing import write_text
        from spikesight.files.writing import place_for_file

        write_text(place_for_file(Path(path), "html"), audit_page(self))


def _row(name: str, kind: str, operations: Operations) -> tuple[str, ...]:
    numbers = (getattr(operations, field.name) for field in fields(operations))
    cost = f"{operations.integer_picojoules / 1e3:,.2f}"
    return (name, kind, *(si_number(n) if n else "" for n in numbers), cost)


def audit(net: Deployed, data: Tensor | Iterable[object]) -> Audit:
    """Counts what a deployed network computes on real inputs, as its spikes would.

    Args:
        net: The deployed network.
        data: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]), or batches of them or of
            (inputs, labels), such as a loader.

    Returns:
        Operations per sample, layer by layer.

    Raises:
        UserError: If there is no input, or the network does not take one.
    """
    meter = AuditMeter(net.graph)
    return meter.report(observe_batches(net, data, meter.observe))


def observe_batches(net: Deployed, data: Tensor | Iterable[object], *observers: Observer) -> int:
    """Runs a deployed network once over real inputs, batch by batch, for all observers.

    Args:
        net: The deployed network.
        data: As `audit`.
        observers: Called after each node with the node and its output, time-major [T*B, ...].

    Returns:
        Number of inputs.

    Raises:
        UserError: If there is no input, or the network does not take one.
    """
    executor = IntegerExecutor(net.graph)

    def observe(node: integer.Node, output: Tensor) -> None:
        for observer in observers:
            observer(node, output)

    samples = 0
    for inputs in inputs_of(data):
        net.check(inputs)
        executor.run(inputs, observe)
        samples += len(inputs)
    if samples == 0:
        raise UserError("there is no input to measure on; pass a tensor or a loader with batches")
    return samples


def _kind(graph: integer.Graph, node: integer.Node) -> str:
    match node:
        case integer.Synapse():
            source = graph.by_name[node.inputs[0]]
            if isinstance(source, integer.Input):
                return "first layer"
            return "synapse" if source.name in graph.counts else "real-valued synapse"
        case integer.Input():
            return "image"
        case integer.Neuron():
            return "neuron"
        case integer.Add():
            return "spike shortcut" if node.name in graph.counts else "shortcut"
        case integer.Gate():
            return "gate"
        case integer.SpikeSum():
            return "spike sum"
        case integer.CurrentProduct():
            return "current product"
        case integer.Attention():
            return "attention"
        case integer.Pool():
            return "pool"
        case integer.MaxPool():
            return "maximum"
        case integer.Output():
            return "output"
        case integer.Embedding():
            return "embedding"
        case integer.Position():
            return "position"
        case integer.Resize():
            return "upsampling"
        case integer.Sample():
            return "bilinear sampling"
        case integer.MaskProduct():
            return "mask product"


class AuditMeter:
    """Sums operations over batches; observes an execution.

    Attributes:
        levels: Largest count per time step of every value that is a count, by name.
    """

    def __init__(self, graph: integer.Graph) -> None:
        self.graph = graph
        self.levels = {name: counts.levels for name, counts in graph.counts.items()}
        self._sums: dict[str, Operations] = {}
        self._counts: dict[str, Tensor] = {}
        self._elements: dict[str, int] = {}

    def observe(self, node: integer.Node, output: Tensor) -> None:
        """Takes part in the execution."""
        if node.name in self.graph.counts:
            self._counts[node.name] = output
        self._elements[node.name] = output.numel()
        done = self._operations(node, output)
        self._sums[node.name] = self._sums.get(node.name, Operations()) + done

    def report(self, samples: int) -> Audit:
        """Operations per sample of all that was observed."""
        layers = tuple(
            LayerAudit(node.name, _kind(self.graph, node), self._sums[node.name] / samples)
            for node in self.graph.nodes
        )
        return Audit(layers, samples)

    def _operations(self, node: integer.Node, output: Tensor) -> Operations:
        elements = output.numel()
        match node:
            case integer.Input():
                return Operations(comparisons=elements)
            case integer.Synapse():
                return self._synapse(node, output)
            case integer.Neuron():
                return _neuron(node, elements)
            case integer.Add(name=name):
                return Operations(additions=0 if name in self._counts else elements)
            case integer.MaxPool(name=name, kernel=kernel):
                levels = self.levels[name] if name in self._counts else 1
                return Operations(comparisons=elements * (kernel**2 - 1) * levels)
            case integer.Gate():
                source, by = node.inputs
                if 1 in (self.levels[source], self.levels[by]):
                    return Operations(comparisons=elements * self.levels[node.name])
                return Operations(accumulates=float(self._counts[source].double().sum()))
            case integer.SpikeSum():
                (source,) = node.inputs
                return Operations(accumulates=float(self._counts[source].double().sum()))
            case integer.CurrentProduct(heads=heads):
                _, source = node.inputs
                spikes = float(self._counts[source].double().sum())
                return Operations(accumulates=spikes * (output.shape[1] // heads))
            case integer.Attention(heads=heads):
                query, key, _ = node.inputs
                head_dim = output.shape[1] // heads
                spikes = sum(float(self._counts[name].double().sum()) for name in (query, key))
                return Operations(accumulates=spikes * head_dim)
            case integer.Pool():
                (source,) = node.inputs
                return Operations(additions=self._elements[source])
            case integer.Output(steps=steps):
                return Operations(additions=elements * (steps - 1))
            case integer.Embedding() | integer.Position():
                return Operations()
            case integer.Resize():
                source, _ = node.inputs
                if self._elements[source] == elements:
                    return Operations()
                # a + b + 2 b along rows, then along columns of twice as many, then rounding.
                return Operations(additions=4.0 * elements, comparisons=2.5 * elements)
            case integer.Sample(side=side, position_bits=bits):
                _, _, weight = node.inputs
                counts = self._counts[weight]
                spikes = float(counts.double().sum()) * (elements / (counts.numel() / side**2))
                values = float(elements * side**2)
                positions = 2.0 * counts.numel()
                if bits <= SHIFTABLE_OFFSET_BITS:
                    # (4 - f) a + f b for f = 0..3 is one shift and two additions; thrice, and
                    # rounding. A comparison with f chooses what is shifted.
                    return Operations(
                        accumulates=spikes,
                        additions=positions + 7.0 * values,
                        comparisons=positions + 7.0 * values,
                    )
                # A position's two halves, four products of weights and pixels, one shift.
                return Operations(
                    accumulates=spikes,
                    additions=positions,
                    comparisons=positions + values,
                    multiplies=4.0 * values + 4.0 * counts.numel(),
                )
            case integer.MaskProduct():
                embedding, features = node.inputs
                spikes = float(self._counts[embedding].double().sum())
                if features in self._counts:
                    meetings = mask_product(
                        self._counts[embedding].double(), self._counts[features].double()
                    )
                    return Operations(accumulates=float(meetings.sum()))
                return Operations(accumulates=spikes * output.shape[-2:].numel())
        assert_never(node)

    def _synapse(self, node: integer.Synapse, output: Tensor) -> Operations:
        channels = torch.as_tensor(output.numel() / len(node.shift))
        once = Operations(
            additions=float(channels * int((node.bias != 0).sum())),
            comparisons=float(channels * int((node.shift != 0).sum())),
        )
        if node.inputs[0] in self._counts:
            reached = accumulations(
                self._counts[node.inputs[0]], node.weight, node.stride, node.padding, node.groups
            )
            return once + Operations(accumulates=reached)
        if node.weight[0].numel() == 1 and bool((node.weight == 1).all()):
            return once  # It rounds currents.
        return once + Operations(multiplies=float(output.numel() * node.weight[0].numel()))


def _neuron(node: integer.Neuron, elements: int) -> Operations:
    """One comparison per level; over time, the leak, the charge and the reset too."""
    compared = float(elements * node.levels)
    if node.steps == 1:
        return Operations(comparisons=compared)
    leaks = elements * (node.leak.kind in ("share", "rest"))
    resets = float(elements * (1 if node.reset == "hard" else node.levels))
    shifts = elements * (node.shift > 0)
    added = elements * (2 if bool(node.bias.any()) else 1)
    return Operations(additions=added, comparisons=compared + leaks + resets + shifts)
