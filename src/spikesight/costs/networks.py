"""Energy of a deployed network, and of any network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from spikesight.costs.attention import AttentionEnergy
from spikesight.costs.audit import AuditMeter, LayerAudit, observe_batches
from spikesight.costs.dense import dense_parts
from spikesight.costs.models import energy as model_energy
from spikesight.costs.readers import nonzero_operands
from spikesight.costs.report import EnergyReport, LayerEnergy
from spikesight.costs.work import WorkMeter
from spikesight.deployment.network import Deployed
from spikesight.graph import integer_vocabulary as integer
from spikesight.graph.operations import Shape
from spikesight.neurons.recording import spiking_neurons


def energy(
    network: nn.Module | Deployed,
    data: Tensor | Iterable[object],
    steps: Sequence[int] = (),
) -> EnergyReport:
    """Counts synaptic operations on real inputs.

    Of a deployed network the counts are those of its integers; its ANN twin is the same network,
    dense, since the unfolded factors that training had are gone.

    Args:
        network: A spiking model, an ANN twin (every operation then multiplies) or a deployed
            network.
        data: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]), or batches of them or of
            (inputs, labels), such as a loader.
        steps: What if: other numbers of time steps T over which the same spikes are spread, D
            being as much smaller or larger; for `EnergyReport.under`.

    Returns:
        Energy per sample.

    Raises:
        UserError: If there is no input or the model cannot be traced.
    """
    if isinstance(network, Deployed):
        return _deployed_energy(network, data, steps)
    return model_energy(network, data, steps)


def other_steps(network: nn.Module | Deployed) -> list[int]:
    """Numbers of time steps that are worth a comparison: 1, 4 and T D, without the own T.

    Args:
        network: As of `energy`; an ANN has none.
    """
    if isinstance(network, Deployed):
        own = network.graph.input.steps
        levels = max((neuron.levels for neuron in network.graph.neurons), default=0)
    else:
        neurons = spiking_neurons(network)
        dynamics = [n.dynamics for n in neurons.values() if n.dynamics is not None]
        own = max((d.steps for d in dynamics), default=1)
        levels = max((d.levels for d in dynamics), default=0)
    return sorted({steps for steps in (1, 4, own * levels) if 1 <= steps <= own * levels} - {own})


@torch.no_grad()
def _deployed_energy(
    net: Deployed, data: Tensor | Iterable[object], steps: Sequence[int]
) -> EnergyReport:
    auditing = AuditMeter(net.graph)
    meter = _Meter(net.graph, auditing.levels)
    work = WorkMeter(net.graph)
    what_if = {number: WorkMeter(net.graph, number) for number in steps}
    observers = [auditing.observe, meter.observe, work.observe]
    observers += [other.observe for other in what_if.values()]
    audited = auditing.report(observe_batches(net, data, *observers))
    layers = [
        meter.layer(layer, audited.samples)
        for layer in audited.layers
        if layer.operations.accumulates or layer.operations.multiplies or layer.name in meter.macs
    ]
    return EnergyReport(
        tuple(layers),
        audited.samples,
        meter.firing_rates(),
        works=work.report(audited.samples),
        neurons=work.neurons(),
        what_if={number: other.report(audited.samples) for number, other in what_if.items()},
    )


class _Meter:
    """What the audit does not say: mean counts, and operations if the network were dense."""

    def __init__(self, graph: integer.Graph, levels: dict[str, int]) -> None:
        self.graph = graph
        self._levels = levels
        self.macs: dict[str, float] = defaultdict(float)
        self._spikes: dict[str, float] = defaultdict(float)
        self._nonzero: dict[str, int] = defaultdict(int)
        self._elements: dict[str, int] = defaultdict(int)
        self._shapes: dict[str, Shape] = {}

    def observe(self, node: integer.Node, output: Tensor) -> None:
        """Takes part in the execution."""
        name = node.name
        if name in self._levels:
            self._spikes[name] += float(output.sum(dtype=torch.float64))
            self._nonzero[name] += int(output.count_nonzero())
            self._elements[name] += output.numel()
        if isinstance(node, integer.Input):
            self._shapes = self.graph.shapes((output.shape[-2], output.shape[-1]))
        parts = dense_parts(node, [self._shapes[source] for source in node.inputs])
        if (macs := sum(macs for _, macs in parts)) > 0:
            self.macs[name] += output.shape[0] * macs

    def firing_rates(self) -> dict[str, float]:
        """Mean spike of every neuron in [0, 1]."""
        return {
            neuron.name: self._spikes[neuron.name] / self._elements[neuron.name] / neuron.levels
            for neuron in self.graph.neurons
        }

    def layer(self, audited: LayerAudit, samples: int) -> LayerEnergy:
        """One layer of the report."""
        name, operations = audited.name, audited.operations
        node = self.graph.by_name[name]
        source = node.inputs[0]
        mean, rate = None, None
        if source in self._levels:
            mean = self._spikes[source] / self._elements[source]
            rate = mean / self._levels[source]
        shares = {name: self._nonzero[name] / count for name, count in self._elements.items()}
        per_sample = self.macs.get(name, 0.0) / samples
        dense = per_sample / self.graph.input.steps
        synapse = isinstance(node, integer.Synapse)
        attention = None
        if isinstance(node, integer.Attention):
            query, key, value = (self._shapes[key] for key in node.inputs)
            sizes = (query.pixels, key.pixels, query.channels, value.channels, node.heads)
            attention = AttentionEnergy(*sizes, operations.accumulates)
        # Interpolation adds in place of multiplications; biases and shortcuts are left out.
        interpolates = isinstance(node, integer.Resize | integer.Sample)
        accumulates = operations.accumulates + operations.additions * interpolates
        return LayerEnergy(
            name=name,
            kind="attention product" if attention is not None else audited.kind,
            macs=dense,
            firing_rate=rate,
            mean_count=mean,
            accumulates=accumulates,
            multiplies=operations.multiplies,
            paper_accumulates=accumulates if mean is None or not synapse else mean * per_sample,
            twin_macs=dense,
            weight_bits=node.bits if isinstance(node, integer.Synapse) else None,
            attention=attention,
            nonzero=nonzero_operands(node, [self._shapes[read] for read in node.inputs], shares),
        )
