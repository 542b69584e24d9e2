"""Energy: synaptic operations by actual spikes, in picojoules."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar, assert_never

import torch
from torch import Tensor, nn

from spikesight.attention.mask_product import mask_product
from spikesight.costs.attention import AttentionEnergy, attention_energy
from spikesight.costs.fan_out import accumulations
from spikesight.costs.prices import (
    ACCUMULATE_PJ,
    LOW_BIT_NOTE,
    MULTIPLY_ACCUMULATE_PJ,
    low_bit_share,
)
from spikesight.errors import UserError
from spikesight.graph import (
    Add,
    AttentionProduct,
    Embedding,
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
    Synapse,
    execute,
    trace,
)
from spikesight.graph.counts import Counts, reading_counts
from spikesight.graph.operations import Operation, Shape
from spikesight.passes.batches import inputs_of
from spikesight.passes.folding import fold
from spikesight.reports.text_table import si_number, text_table

SHIFTABLE_OFFSET_BITS = 2
"""Up to so many bits of an offset, shifts and additions interpolate."""

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class LayerEnergy:
    """What one synapse factor or attention product costs per sample.

    Attributes:
        name: The layer's path in the model.
        kind: "first layer", "synapse", "real-valued synapse", "attention product", "upsampling",
            "bilinear sampling" and its "attention weights", or "mask product".
        macs: Dense multiply-accumulates per time step, zero padding included, as FLOP counters
            count them.
        firing_rate: Mean input spike in [0, 1]; None where the input is real-valued.
        mean_count: Mean input count per time step, in [0, D]; None likewise.
        accumulates: Accumulations by actual spikes over all T x D steps: each spike times the
            outputs that it really reaches; and the additions of shifts and additions that
            interpolate.
        multiplies: Multiply-accumulates over all time steps.
        paper_accumulates: The papers' estimate of `accumulates`, mean count * T * MACs
            (QSD-Transformer eqs. 28-30); it ignores the border. Attention products count K and Q.
        twin_macs: Dense multiply-accumulates of the same layer of the ANN twin, RepConv unfolded,
            one time step.
        weight_bits: Bits of the weights, where they are quantised.
        attention: The products beside softmax attention, where the layer is an attention product.
    """

    name: str
    kind: str
    macs: float
    firing_rate: float | None
    mean_count: float | None
    accumulates: float
    multiplies: float
    paper_accumulates: float
    twin_macs: float
    weight_bits: int | None = None
    attention: AttentionEnergy | None = None

    @property
    def low_bit_picojoules(self) -> float:
        """Energy per sample with low-bit additions at their share (QSD-Transformer eq. 30).

        An addition of a weight of 4, 3 or 2 bits counts 1/8, 1/16 or 1/32 of one in 32-bit floating
        point (reconstructed shares). Multiplications and attention products keep their price.
        """
        added = ACCUMULATE_PJ * self.accumulates * low_bit_share(self.weight_bits)
        return MULTIPLY_ACCUMULATE_PJ * self.multiplies + added

    @property
    def picojoules(self) -> float:
        """Energy per sample."""
        return MULTIPLY_ACCUMULATE_PJ * self.multiplies + ACCUMULATE_PJ * self.accumulates

    @property
    def twin_picojoules(self) -> float:
        """Energy per sample of the ANN twin's layer."""
        return MULTIPLY_ACCUMULATE_PJ * self.twin_macs


@dataclass(frozen=True)
class EnergyReport:
    """Energy per sample, layer by layer.

    Counts are of the folded network: 4.6 pJ per multiply-accumulate and 0.9 pJ per accumulation
    (45 nm, 32-bit floating point, Horowitz 2014). As in the papers, memory access, neuron updates
    and residual additions are left out.

    Attributes:
        layers: One entry per synapse factor and attention product.
        samples: Number of samples that firing was averaged over.
        firing_rates: Mean spike of every neuron in [0, 1], by path; empty for an ANN.
    """

    layers: tuple[LayerEnergy, ...]
    samples: int
    firing_rates: dict[str, float]

    @property
    def picojoules(self) -> float:
        """Energy per sample."""
        return sum(layer.picojoules for layer in self.layers)

    @property
    def low_bit_picojoules(self) -> float | None:
        """Energy per sample by QSD-Transformer's eq. 30; None where no weight has few bits."""
        if all(low_bit_share(layer.weight_bits) == 1 for layer in self.layers):
            return None
        return sum(layer.low_bit_picojoules for layer in self.layers)

    @property
    def twin_picojoules(self) -> float:
        """Energy per sample of the ANN twin."""
        return sum(layer.twin_picojoules for layer in self.layers)

    @property
    def paper_picojoules(self) -> float:
        """Energy per sample by the papers' formula instead of actual spikes."""
        return sum(
            MULTIPLY_ACCUMULATE_PJ * layer.multiplies + ACCUMULATE_PJ * layer.paper_accumulates
            for layer in self.layers
        )

    def table(self) -> str:
        """The report as text."""
        rows = [_row(layer) for layer in self.layers]
        header = ("layer", "kind", "MACs", "rate", "accumulates", "multiplies", "nJ", "ANN twin nJ")
        total = (
            "total",
            "",
            si_number(sum(layer.macs for layer in self.layers)),
            "",
            si_number(sum(layer.accumulates for layer in self.layers)),
            si_number(sum(layer.multiplies for layer in self.layers)),
            f"{self.picojoules / 1e3:,.1f}",
            f"{self.twin_picojoules / 1e3:,.1f}",
        )
        share = self.picojoules / self.twin_picojoules
        few = self.low_bit_picojoules
        low_bit = "" if few is None else f"\n{LOW_BIT_NOTE}: {few / 1e3:,.1f} nJ"
        return (
            text_table(header, [*rows, total])
            + f"\nper sample, mean of {self.samples}; {share:.3f} of the ANN twin's; by the "
            + f"papers' formula {self.paper_picojoules / 1e3:,.1f} nJ. 4.6 pJ per multiply, 0.9 pJ "
            + "per accumulate; memory, neuron updates and residual additions not counted"
            + low_bit
        )

    def attention_table(self) -> str:
        """The attention products beside softmax attention of the same size, as text."""
        header = ("attention", "queries", "channels", "heads", "nJ", "softmax attention nJ")
        rows = [
            (
                layer.name,
                str(part.queries),
                str(part.channels),
                str(part.heads),
                f"{part.picojoules / 1e3:,.2f}",
                f"{part.softmax_picojoules / 1e3:,.2f}",
            )
            for layer in self.layers
            if (part := layer.attention) is not None
        ]
        return text_table(header, rows)

    def to_html(self, path: str | Path) -> None:
        """Writes the report as one self-contained page; its folder is made if it is not there."""
        from spikesight.costs.page import energy_page
        from spikesight.files.writing import place_for_file

        place_for_file(Path(path), "html").write_text(energy_page(self), encoding="utf-8")


def _row(layer: LayerEnergy) -> tuple[str, ...]:
    rate = "" if layer.firing_rate is None else f"{layer.firing_rate:.3f}"
    counts = (si_number(layer.accumulates), si_number(layer.multiplies))
    energy_nj = (f"{layer.picojoules / 1e3:,.1f}", f"{layer.twin_picojoules / 1e3:,.1f}")
    return (layer.name, layer.kind, si_number(layer.macs), rate, *counts, *energy_nj)


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

    Four per interpolated value; one per weighted sample and per channel of a mask's pixel.
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
                position = _spiking_operand(node, index)
                if position is None:
                    continue
                if (neuron := self._spiking(node.inputs[position])) is not None:
                    spikes = float(inputs[position].sum(dtype=torch.float64)) / neuron.unit
                    reached = count / inputs[position].numel()
                    _add(self.accumulates, (node.name, index), spikes * reached)

    def _spiking(self, name: str) -> Counts | None:
        return self.counts.get(name)

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
            position = _spiking_operand(node, index)
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
                if isinstance(node, AttentionProduct):
                    estimate = accumulates
                    if neuron is not None:
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


def _spiking_operand(node: Node, index: int) -> int | None:
    """Which input's spikes a factor of a node expands; None where it reads real values."""
    if isinstance(node, Sample):
        return 2 if index == 1 else None
    return 0 if index == 0 and not isinstance(node, Resize) else None


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
