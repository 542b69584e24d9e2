"""Energy of a deployed network, and of any network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spikesight.deployment.integer_execution import IntegerExecutor
from spikesight.deployment.network import Deployed
from spikesight.graph.integer_vocabulary import (
    IntegerAttention,
    IntegerGraph,
    IntegerInput,
    IntegerNeuron,
    IntegerNode,
    IntegerSynapse,
)
from spikesight.passes.attention_energy import AttentionEnergy
from spikesight.passes.batches import inputs_of
from spikesight.passes.energy_report import EnergyReport, LayerEnergy
from spikesight.passes.energy_report import energy as model_energy
from spikesight.passes.fan_out import accumulations


def energy(network: nn.Module | Deployed, data: Tensor | Iterable[object]) -> EnergyReport:
    """Counts synaptic operations on real inputs.

    Of a deployed network the counts are those of its integers; its ANN twin is the same network,
    dense, since the unfolded factors that training had are gone.

    Args:
        network: A spiking model, an ANN twin (every operation then multiplies) or a deployed
            network.
        data: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]), or batches of them or of
            (inputs, labels), such as a loader.

    Returns:
        Energy per sample.

    Raises:
        ValueError: If there is no input or the model cannot be traced.
    """
    if isinstance(network, Deployed):
        return _deployed_energy(network, data)
    return model_energy(network, data)


@torch.no_grad()
def _deployed_energy(net: Deployed, data: Tensor | Iterable[object]) -> EnergyReport:
    meter = _Meter(net.graph)
    executor = IntegerExecutor(net.graph)
    for inputs in inputs_of(data):
        net.check(inputs)
        executor(inputs, meter.observe)
        meter.samples += len(inputs)
    if meter.samples == 0:
        raise ValueError("there is no input to measure on; pass a tensor or a loader with batches")
    return meter.report()


class _Meter:
    """Sums operations over batches."""

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = graph
        self.samples = 0
        self._counts: dict[str, Tensor] = {}
        self._spikes: dict[str, float] = {}
        self._elements: dict[str, int] = {}
        self._pixels: dict[str, float] = {}
        self._macs: dict[str, float] = {}
        self._accumulates: dict[str, float] = {}

    def observe(self, node: IntegerNode, output: Tensor) -> None:
        """Takes part in the execution."""
        name = node.name
        if isinstance(node, IntegerNeuron):
            self._counts[name] = output
            total = float(output.sum(dtype=torch.float64))
            self._spikes[name] = self._spikes.get(name, 0.0) + total
            self._elements[name] = self._elements.get(name, 0) + output.numel()
        elif isinstance(node, IntegerSynapse):
            macs = float(output.numel() * node.weight[0].numel())
            self._macs[name] = self._macs.get(name, 0.0) + macs
            if (counts := self._counts.get(node.inputs[0])) is not None:
                reached = accumulations(counts, node.weight, node.stride, node.padding, node.groups)
                self._accumulates[name] = self._accumulates.get(name, 0.0) + reached
        elif isinstance(node, IntegerAttention):
            head_dim = output.shape[1] // node.heads
            self._macs[name] = self._macs.get(name, 0.0) + 2.0 * output.numel() * head_dim
            spikes = sum(float(self._counts[key].double().sum()) for key in node.inputs[:2])
            self._accumulates[name] = self._accumulates.get(name, 0.0) + spikes * head_dim
            pixels = float(output.numel() / output.shape[1])
            self._pixels[name] = self._pixels.get(name, 0.0) + pixels

    def report(self) -> EnergyReport:
        """Means per sample."""
        layers = [self._layer(self.graph.by_name[name]) for name in self._macs]
        rates = {
            neuron.name: self._spikes[neuron.name] / self._elements[neuron.name] / neuron.levels
            for neuron in self.graph.neurons
        }
        return EnergyReport(tuple(layers), self.samples, rates)

    def _layer(self, node: IntegerNode) -> LayerEnergy:
        name, source = node.name, self.graph.by_name[node.inputs[0]]
        per_sample = self._macs[name] / self.samples
        steps = self.graph.input.steps
        accumulates = self._accumulates.get(name, 0.0) / self.samples
        neuron = source if isinstance(source, IntegerNeuron) else None
        mean = None if neuron is None else self._spikes[source.name] / self._elements[source.name]
        attention = None
        if isinstance(node, IntegerAttention):
            kind, estimate = "attention product", accumulates
            tokens = self._pixels[name] / self.samples / steps
            channels = self._counts[node.inputs[0]].shape[1]
            attention = AttentionEnergy(tokens, channels, node.heads, accumulates)
        else:
            first = isinstance(source, IntegerInput)
            kind = "synapse" if neuron else "first layer" if first else "real-valued synapse"
            estimate = 0.0 if mean is None else mean * per_sample
        return LayerEnergy(
            name=name,
            kind=kind,
            macs=per_sample / steps,
            firing_rate=None if neuron is None or mean is None else mean / neuron.levels,
            mean_count=mean,
            accumulates=accumulates,
            multiplies=0.0 if neuron else per_sample,
            paper_accumulates=estimate,
            twin_macs=per_sample / steps,
            weight_bits=node.bits if isinstance(node, IntegerSynapse) else None,
            attention=attention,
        )
