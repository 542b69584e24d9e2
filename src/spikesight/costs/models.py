"""Energy of a model: its synaptic operations by actual spikes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import assert_never

import torch
from torch import Tensor, nn

from spikesight.attention.mask_product import mask_product
from spikesight.costs.attention import AttentionEnergy
from spikesight.costs.dense import dense_parts
from spikesight.costs.fan_out import accumulations
from spikesight.costs.prices import SHIFTABLE_OFFSET_BITS
from spikesight.costs.readers import nonzero_operands
from spikesight.costs.report import EnergyReport, LayerEnergy
from spikesight.costs.work import WorkMeter
from spikesight.errors import UserError
from spikesight.graph import (
    Add,
    AttentionProduct,
    CurrentProduct,
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
)
from spikesight.graph.counts import reading_counts
from spikesight.graph.operations import Shape
from spikesight.graph.tracing import trace_parts
from spikesight.passes.batches import inputs_of
from spikesight.passes.folding import fold


@torch.no_grad()
def energy(
    model: nn.Module, data: Tensor | Iterable[object], steps: Sequence[int] = ()
) -> EnergyReport:
    """Is `spikesight.energy` for a spiking model or an ANN twin."""
    model = copy.deepcopy(model).eval()
    # Packed models have buffers alone.
    parameter = next(t for t in chain(model.parameters(), model.buffers()) if t.is_floating_point())
    graphs = trace_parts(model)
    is_ann = any(neuron.dynamics is None for graph in graphs.values() for neuron in graph.neurons)
    (_, of_images), *others = (
        (path, _Meter(graph, is_ann, steps)) for path, graph in graphs.items()
    )
    samples = 0
    for batch in inputs_of(data):
        of_images.graph.input.check(tuple(batch.shape))
        inputs = batch.to(parameter.device, parameter.dtype)
        of_images.add(inputs)
        samples += len(inputs)
        if others:
            for (_, meter), shown in zip(others, _shown(model, inputs, dict(others)), strict=True):
                meter.add(shown)
    if samples == 0:
        raise UserError("there is no input to measure on; pass a tensor or a loader with batches")
    reports = [meter.report(samples) for meter in (of_images, *dict(others).values())]
    return EnergyReport(
        tuple(layer for report in reports for layer in report.layers),
        samples,
        {name: rate for report in reports for name, rate in report.firing_rates.items()},
        getattr(model, "host_code", ""),
        tuple(work for report in reports for work in report.works),
        tuple(neuron for report in reports for neuron in report.neurons),
        {number: tuple(w for r in reports for w in r.what_if[number]) for number in steps},
    )


def _shown(model: nn.Module, inputs: Tensor, paths: Iterable[str]) -> list[Tensor]:
    """What host code shows to the other parts of a model, [N, ...] each."""
    shown: dict[str, list[Tensor]] = {path: [] for path in paths}
    with ExitStack() as hooks:
        for path, kept in shown.items():

            def keep(_: nn.Module, args: tuple[Tensor, ...], kept: list[Tensor] = kept) -> None:
                kept.append(args[0])

            handle = model.get_submodule(path).register_forward_pre_hook(keep)
            hooks.callback(handle.remove)
        model(inputs)
    return [torch.cat(kept) for kept in shown.values()]


class _Meter:
    """Sums operations over batches; a neuron's output is found by the name of its node."""

    def __init__(self, unfolded: Graph, is_ann: bool, steps: Sequence[int]) -> None:
        self.unfolded = unfolded
        self.graph = graph = unfolded if is_ann else fold(unfolded)
        self.counts = reading_counts(graph)
        self.shapes: dict[str, Shape] = {}
        self.twin_macs: dict[str, list[float]] = {}
        self.inputs = 0
        self.spikes: dict[str, float] = defaultdict(float)
        self.nonzero: dict[str, float] = defaultdict(float)
        self.elements: dict[str, int] = defaultdict(int)
        self.accumulates: dict[tuple[str, int], float] = defaultdict(float)
        self.macs: dict[tuple[str, int], float] = defaultdict(float)
        self.kinds: dict[tuple[str, int], str] = {}
        self.work = WorkMeter(graph)
        self.what_if = {number: WorkMeter(graph, number) for number in steps}

    def add(self, inputs: Tensor) -> None:
        """Runs the graph on inputs [N, ...]."""
        if not len(inputs):
            return
        size = (inputs.shape[-2], inputs.shape[-1])
        if not self.twin_macs:
            shapes = self.unfolded.shapes(size)
            self.twin_macs = {
                node.name: [macs for _, macs in dense_parts(node, [shapes[n] for n in node.inputs])]
                for node in self.unfolded.nodes
            }
        self.shapes = self.graph.shapes(size)
        execute(self.graph, inputs, self.observe)
        self.inputs += len(inputs)

    def observe(self, node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Takes part in `execute`."""
        for meter in (self.work, *self.what_if.values()):
            meter.observe(node, output)
        if (counted := self.counts.get(node.name)) is not None:
            counts = output / counted.unit
            self.spikes[node.name] += float(counts.sum(dtype=torch.float64))
            self.nonzero[node.name] += float(counts.count_nonzero())
            self.elements[node.name] += counts.numel()
        samples = output.shape[0]
        parts = dense_parts(node, [self.shapes[name] for name in node.inputs])
        for index, (kind, macs) in enumerate(parts):
            part = (node.name, index)
            if not (isinstance(node, Synapse) and node.factors[index].is_diagonal):
                self.kinds[part] = kind
                self.macs[part] += samples * macs
                reached = self._accumulates(node, index, samples * macs, inputs, output)
                self.accumulates[part] += reached

    def _accumulates(
        self, node: Node, index: int, macs: float, inputs: tuple[Tensor, ...], output: Tensor
    ) -> float:
        """Additions by the spikes that a part of a node really read; 0 where it reads none."""
        if (additions := _shifted_additions(node, index)) is not None:
            return additions * macs
        position = self._spiking_operand(node, index)
        spiking = None if position is None else self.counts.get(node.inputs[position])
        if position is None or spiking is None:
            return 0.0
        x = inputs[position]
        spikes = float(x.sum(dtype=torch.float64)) / spiking.unit
        match node:
            case Synapse(factors=(first, *_)):
                # A mean over pixels is linear: every spike at every pixel adds its weights.
                source = self.graph.by_name[node.inputs[0]]
                pooled = isinstance(source, Pool)
                pixels = self.shapes[source.inputs[0]].pixels if pooled else 1
                counts = x / spiking.unit * pixels
                return accumulations(
                    counts, first.weight, first.stride, first.padding, first.groups
                )
            case AttentionProduct():
                return self._attention(node, inputs)
            case Gate():
                sides = [self.counts.get(name) for name in node.inputs]
                if any(side is not None and side.levels == 1 for side in sides):
                    return 0.0
                return spikes * (output.numel() / x.numel())
            case MaskProduct():
                met = self._meetings(node, inputs)
                return spikes * (macs / x.numel()) if met is None else met
            case SpikeSum():
                return spikes
            case _:
                return spikes * (macs / x.numel())

    def _spiking_operand(self, node: Node, index: int) -> int | None:
        """Which input's spikes a factor of a node expands; None where it reads real values."""
        match node:
            case Gate():
                return next(
                    (i for i, name in enumerate(node.inputs) if self.counts.get(name)), None
                )
            case Sample():
                return 2 if index == 1 else None
            case CurrentProduct():
                return 1
            case Synapse() | AttentionProduct() | SpikeSum() | MaskProduct():
                return 0 if index == 0 else None
            case Input() | Neuron() | Add() | Pool() | MaxPool() | Rearrange() | Output():
                return None
            case Resize() | Embedding() | Position():
                return None
        assert_never(node)

    def _attention(self, node: AttentionProduct, inputs: tuple[Tensor, ...]) -> float:
        """Spikes of K and of Q are expanded; each adds one row of a head's values."""
        head_dim = inputs[2].shape[1] // node.heads
        total = 0.0
        for name, x in zip(node.inputs[:2], inputs[:2], strict=True):
            neuron = self.counts.get(name)
            assert neuron is not None
            total += float(x.sum(dtype=torch.float64)) / neuron.unit * head_dim
        return total

    def _meetings(self, node: MaskProduct, inputs: tuple[Tensor, ...]) -> float | None:
        """Spikes of embeddings that meet spikes of features; None where features are real."""
        first, second = (self.counts.get(name) for name in node.inputs)
        if first is None or second is None:
            return None
        embedding, features = (x.double() for x in inputs)
        return float(mask_product(embedding / first.unit, features / second.unit).sum())

    def report(self, samples: int) -> EnergyReport:
        """Means per sample, of which each may have had several inputs, such as regions."""
        steps = self.graph.input.steps
        of_sample = self.inputs / samples
        nonzero = {name: self.nonzero[name] / count for name, count in self.elements.items()}
        layers = []
        for (name, index), total in self.macs.items():
            node = self.graph.by_name[name]
            position = self._spiking_operand(node, index)
            source = node.inputs[position or 0]
            neuron = None if position is None else self.counts.get(source)
            per_sample = total / samples
            mean = None if neuron is None else self.spikes[source] / self.elements[source]
            accumulates = self.accumulates[name, index] / samples
            estimate = 0.0 if mean is None else mean * per_sample
            bits, attention = None, None
            shifted = _shifted_additions(node, index) is not None
            if shifted:
                estimate = accumulates
            first = isinstance(self.graph.by_name[source], Input) and index == 0
            kind = self.kinds[name, index]
            if isinstance(node, Synapse):
                bits = node.factors[index].bits
                kind = "first layer" if first else kind if neuron else "real-valued synapse"
            elif isinstance(node, AttentionProduct | Gate | SpikeSum):
                estimate = accumulates
                if isinstance(node, AttentionProduct) and neuron is not None:
                    query, key, value = (self.shapes[read] for read in node.inputs)
                    channels = query.channels, value.channels
                    sizes = (query.pixels, key.pixels, *channels, node.heads)
                    attention = AttentionEnergy(*sizes, accumulates)
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
                    twin_macs=of_sample
                    * _twin_macs(self.twin_macs[name], index, whole=isinstance(node, Synapse)),
                    weight_bits=bits,
                    attention=attention,
                    nonzero=None
                    if neuron is None
                    else nonzero_operands(node, [self.shapes[n] for n in node.inputs], nonzero),
                )
            )
        rates = {
            neuron.name: self.spikes[neuron.name]
            / self.elements[neuron.name]
            / neuron.dynamics.levels
            for neuron in self.graph.neurons
            if neuron.dynamics is not None and self.inputs
        }
        return EnergyReport(
            tuple(layers),
            samples,
            rates,
            works=self.work.report(samples),
            neurons=self.work.neurons(),
            what_if={steps: meter.report(samples) for steps, meter in self.what_if.items()},
        )


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
