"""Energy of a model: its synaptic operations by actual spikes."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import chain
from typing import TypeVar, assert_never

import torch
from torch import Tensor, nn

from spikesight.attention.mask_product import mask_product
from spikesight.costs.attention import attention_energy
from spikesight.costs.fan_out import accumulations
from spikesight.costs.prices import SHIFTABLE_OFFSET_BITS
from spikesight.costs.report import EnergyReport, LayerEnergy
from spikesight.errors import UserError
from spikesight.graph import (
    Add,
    AttentionProduct,
    Embedding,
    Gate,
    Graph,
    Input,
    MaskProduct,
    MaxPool,
    Neuron,
    Node,
    Output,
    Pool,
    Position,
    Rearrange,
    Resize,
    Sample,
    SpikeSum,
    Synapse,
    execute,
    trace,
)
from spikesight.graph.counts import Counts, reading_counts
from spikesight.graph.operations import Operation, Shape
from spikesight.passes.batches import inputs_of
from spikesight.passes.folding import fold

_Key = TypeVar("_Key")


@torch.no_grad()
def energy(model: nn.Module, data: Tensor | Iterable[object]) -> EnergyReport:
    """Counts synaptic operations of a model on real inputs.

    Args:
        model: A spiking model, or an ANN twin (every operation then multiplies).
        data: Inputs [B, C, H, W] (frames [B, T, C, H, W]), or batches of them or of
            (inputs, labels), such as a loader.

    Returns:
        Energy per sample.

    Raises:
        ValueError: If there is no input, the model cannot be traced or does not take an input.
    """
    model = copy.deepcopy(model).eval()
    # Packed models have buffers alone.
    parameter = next(t for t in chain(model.parameters(), model.buffers()) if t.is_floating_point())
    unfolded = trace(model)
    is_ann = any(neuron.dynamics is None for neuron in unfolded.neurons)
    graph = unfolded if is_ann else fold(unfolded)
    meter = _Meter(graph)
    twin_macs: dict[str, list[float]] = {}
    for batch in inputs_of(data):
        graph.input.check(tuple(batch.shape))
        inputs = batch.to(parameter.device, parameter.dtype)
        size = (batch.shape[-2], batch.shape[-1])
        if not twin_macs:
            twin_macs = _dense_macs(unfolded, size)
        meter.shapes = graph.shapes(size)
        execute(graph, inputs, meter.observe)
        meter.samples += inputs.shape[0]
    if meter.samples == 0:
        raise UserError("there is no input to measure on; pass a tensor or a loader with batches")
    return meter.report(twin_macs)


def _dense_macs(graph: Graph, size: tuple[int, int]) -> dict[str, list[float]]:
    """MACs of every factor of every layer for one sample and one time step."""
    shapes = graph.shapes(size)
    return {node.name: _macs(node, [shapes[name] for name in node.inputs]) for node in graph.nodes}


def _macs(node: Node, inputs: list[Shape]) -> list[float]:
    """MACs of every factor of a node for one sample and one time step.

    Four per interpolated value; one per gated value, per weighted sample and per channel of a
    mask's pixel. A sum multiplies nothing.
    """
    match node:
        case Synapse(factors=factors):
            pairs = zip(factors, node.factor_shapes(inputs[0]), strict=True)
            return [
                0.0 if factor.is_diagonal else float(given.elements * factor.weight[0].numel())
                for factor, given in pairs
            ]
        case AttentionProduct(heads=heads):
            query, key, _ = inputs
            return [float((query.elements + key.elements) * (query.channels // heads))]
        case Gate():
            return [float(inputs[0].elements)]
        case SpikeSum():
            return [0.0]
        case MaskProduct():
            embedding, features = inputs
            return [float(embedding.pixels * features.elements)]
        case Resize():
            return [4.0 * inputs[0].channels * inputs[1].pixels]
        case Sample(side=side):
            samples = float(inputs[0].elements * side**2)
            return [4.0 * samples, samples]
        case Input() | Neuron() | Add() | Pool() | MaxPool() | Embedding() | Position():
            return []
        case Rearrange() | Output():
            return []
    assert_never(node)


_KINDS: dict[type[Operation], tuple[str, ...]] = {
    AttentionProduct: ("attention product",),
    Gate: ("gate",),
    SpikeSum: ("spike sum",),
    MaskProduct: ("mask product",),
    Resize: ("upsampling",),
    Sample: ("bilinear sampling", "attention weights"),
}
"""What is not a synapse, factor by factor."""


class _Meter:
    """Sums operations over batches; a neuron's output is found by the name of its node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.counts = reading_counts(graph)
        self.shapes: dict[str, Shape] = {}
        self.samples = 0
        self.spikes: dict[str, float] = {}
        self.elements: dict[str, float] = {}
        self.accumulates: dict[tuple[str, int], float] = {}
        self.macs: dict[tuple[str, int], float] = {}
        self.attention: dict[str, tuple[torch.Size, torch.Size]] = {}

    def observe(self, node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Takes part in `execute`."""
        if (counted := self.counts.get(node.name)) is not None:
            counts = output / counted.unit
            _add(self.spikes, node.name, float(counts.sum(dtype=torch.float64)))
            _add(self.elements, node.name, float(counts.numel()))
        samples = output.shape[0]
        shapes = [self.shapes[name] for name in node.inputs]
        macs = [samples * count for count in _macs(node, shapes)]
        for index, count in enumerate(macs):
            if not (isinstance(node, Synapse) and node.factors[index].is_diagonal):
                _add(self.macs, (node.name, index), count)
        if isinstance(node, Synapse):
            neuron, first = self._spiking(node.inputs[0]), node.factors[0]
            if neuron is not None and not first.is_diagonal:
                # A mean over pixels is linear: every spike at every pixel adds its weights.
                source = self.graph.by_name[node.inputs[0]]
                pooled = isinstance(source, Pool)
                pixels = self.shapes[source.inputs[0]].pixels if pooled else 1
                counts = inputs[0] / neuron.unit * pixels
                reached = accumulations(
                    counts, first.weight, first.stride, first.padding, first.groups
                )
                _add(self.accumulates, (node.name, 0), reached)
        elif isinstance(node, AttentionProduct):
            self.attention[node.name] = (inputs[0].shape, inputs[1].shape)
            if (neuron := self._spiking(node.inputs[0])) is not None:
                _add(self.accumulates, (node.name, 0), self._attention(node, inputs))
        elif isinstance(node, Gate | SpikeSum):
            _add(self.accumulates, (node.name, 0), self._additions(node, inputs, output))
        elif isinstance(node, Sample | Resize | MaskProduct):
            for index, count in enumerate(macs):
                if (additions := _shifted_additions(node, index)) is not None:
                    _add(self.accumulates, (node.name, index), additions * count)
                    continue
                if isinstance(node, MaskProduct):
                    met = self._meetings(node, inputs)
                    if met is not None:
                        _add(self.accumulates, (node.name, index), met)
                        continue
                position = self._spiking_operand(node, index)
                if position is None:
                    continue
                if (neuron := self._spiking(node.inputs[position])) is not None:
                    spikes = float(inputs[position].sum(dtype=torch.float64)) / neuron.unit
                    reached = count / inputs[position].numel()
                    _add(self.accumulates, (node.name, index), spikes * reached)

    def _spiking(self, name: str) -> Counts | None:
        return self.counts.get(name)

    def _spiking_operand(self, node: Node, index: int) -> int | None:
        """Which input's spikes a factor of a node expands; None where it reads real values."""
        if isinstance(node, Gate):
            return next((i for i, name in enumerate(node.inputs) if self._spiking(name)), None)
        if isinstance(node, Sample):
            return 2 if index == 1 else None
        return 0 if index == 0 and not isinstance(node, Resize) else None

    def _additions(
        self, node: Gate | SpikeSum, inputs: tuple[Tensor, ...], output: Tensor
    ) -> float:
        """A spike of a sum adds one; of a gate what the other side counts, if none is binary."""
        sides = [self._spiking(name) for name in node.inputs]
        position = self._spiking_operand(node, 0)
        if position is None or (expanded := sides[position]) is None:
            return 0.0
        if isinstance(node, Gate) and any(side is not None and side.levels == 1 for side in sides):
            return 0.0
        x = inputs[position]
        reached = output.numel() / x.numel() if isinstance(node, Gate) else 1.0
        return float(x.sum(dtype=torch.float64)) / expanded.unit * reached

    def _attention(self, node: AttentionProduct, inputs: tuple[Tensor, ...]) -> float:
        """Spikes of K and of Q are expanded; each adds one row of head_dim integers."""
        head_dim = inputs[0].shape[1] // node.heads
        total = 0.0
        for name, x in zip(node.inputs[:2], inputs[:2], strict=True):
            neuron = self._spiking(name)
            assert neuron is not None
            total += float(x.sum(dtype=torch.float64)) / neuron.unit * head_dim
        return total

    def _meetings(self, node: MaskProduct, inputs: tuple[Tensor, ...]) -> float | None:
        """Spikes of embeddings that meet spikes of features; None where features are real."""
        first, second = (self._spiking(name) for name in node.inputs)
        if first is None or second is None:
            return None
        embedding, features = (x.double() for x in inputs)
        return float(mask_product(embedding / first.unit, features / second.unit).sum())

    def report(self, twin_macs: dict[str, list[float]]) -> EnergyReport:
        """Means per sample."""
        steps = self.graph.input.steps
        layers = []
        for (name, index), total in self.macs.items():
            node = self.graph.by_name[name]
            kinds = _KINDS.get(type(node))
            position = self._spiking_operand(node, index)
            source = node.inputs[position or 0]
            neuron = None if position is None else self._spiking(source)
            per_sample = total / self.samples
            mean = None if neuron is None else self.spikes[source] / self.elements[source]
            accumulates = self.accumulates.get((name, index), 0.0) / self.samples
            estimate = 0.0 if mean is None else mean * per_sample
            bits, attention = None, None
            shifted = _shifted_additions(node, index) is not None
            if shifted:
                estimate = accumulates
            first = isinstance(self.graph.by_name[source], Input) and index == 0
            if kinds is not None:
                kind = kinds[index]
                if isinstance(node, AttentionProduct | Gate | SpikeSum):
                    estimate = accumulates
                if isinstance(node, AttentionProduct) and neuron is not None:
                    attention = attention_energy(*self.attention[name], node.heads, accumulates)
            else:
                assert isinstance(node, Synapse)
                bits = node.factors[index].bits
                kind = "first layer" if first else "synapse" if neuron else "real-valued synapse"
            layers.append(
                LayerEnergy(
                    name=name if index == 0 else f"{name}[{index}]",
                    kind=kind,
                    macs=per_sample / steps,
                    firing_rate=None if neuron is None or mean is None else mean / neuron.levels,
                    mean_count=mean,
                    accumulates=accumulates,
                    multiplies=0.0 if neuron or shifted else per_sample,
                    paper_accumulates=estimate,
                    twin_macs=_twin_macs(twin_macs[name], index, whole=kinds is None),
                    weight_bits=bits,
                    attention=attention,
                )
            )
        rates = {
            neuron.name: self.spikes[neuron.name]
            / self.elements[neuron.name]
            / neuron.dynamics.levels
            for neuron in self.graph.neurons
            if neuron.dynamics is not None
        }
        return EnergyReport(tuple(layers), self.samples, rates)


def _shifted_additions(node: Node, index: int) -> float | None:
    """Additions in place of a multiplication where shifts and additions interpolate, else None.

    Doubling adds 3 numbers in place of 4 products; between the quarters of a pixel, which
    are interpolated three times with two additions each, 6.
    """
    if isinstance(node, Resize) and node.shifts:
        return 0.75
    if isinstance(node, Sample) and index == 0 and node.offset_bits is not None:
        return 1.5 if node.offset_bits <= SHIFTABLE_OFFSET_BITS else None
    return None


def _twin_macs(macs: list[float], index: int, *, whole: bool) -> float:
    """The twin's cost of a factor; of a synapse, folded here but not there, with the first."""
    if not whole:
        return macs[index]
    return sum(macs) if index == 0 else 0.0


def _add(sums: dict[_Key, float], key: _Key, value: float) -> None:
    sums[key] = sums.get(key, 0.0) + value
