"""What each part of a network does with real inputs: operations, messages and values held."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from spikesight.costs.dense import dense_parts
from spikesight.costs.fan_out import reached
from spikesight.costs.readers import operand_macs
from spikesight.graph import Graph, Neuron, Node, Synapse, integer_vocabulary as integer, operations
from spikesight.graph.counts import counts_of
from spikesight.graph.operations import Shape

AnyNode = Node | integer.Node


@dataclass(frozen=True)
class Work:
    """The work of one layer: of a synapse's factor, a product, a neuron or a sum.

    Sizes are of one pass over the layer, which a network makes at each time step. Activity is what
    was seen, per sample [N] and over all time steps, in float64.

    Attributes:
        name: The layer's path; "[1]" for the second factor of a synapse.
        kind: "first layer", "synapse", "real-valued synapse", "attention product", another product,
            "neuron", "shortcut" or "sum".
        steps: T, how often the layer is passed.
        levels: D of the counts that it reads or, of a neuron, emits; 0 where it reads real values.
        macs: Multiply-accumulates if nothing were skipped.
        inputs: Values that it reads and that can be silent.
        channels: Channels of those.
        outputs: Values that it gives.
        weights: Weights, or values of the operand that stands still in a product.
        weight_bits: Bits of a weight; None for weights in floating point and for products.
        is_matrix: Whether it is a matrix, which one vector meets.
        leaks: Whether its membranes forget.
        spikes: Spikes read, each count as so many.
        events: Counts read that are not zero.
        spike_additions: Additions that the spikes cause where they reach an output.
        event_additions: Products of a count with a weight, added up, at the nonzero counts alone.
        spike_fetches: Channels with a spike, sub-step by sub-step: how often a channel's weights
            are asked for by binary spikes.
        event_fetches: Channels with a nonzero count, time step by time step.
    """

    name: str
    kind: str
    steps: int
    spikes: Tensor
    events: Tensor
    spike_additions: Tensor
    event_additions: Tensor
    spike_fetches: Tensor
    event_fetches: Tensor
    levels: int = 0
    macs: float = 0.0
    inputs: float = 0.0
    channels: float = 1.0
    outputs: float = 0.0
    weights: float = 0.0
    weight_bits: int | None = None
    is_matrix: bool = False
    leaks: bool = False

    @property
    def is_synapse(self) -> bool:
        """Whether it has weights."""
        return self.kind in ("first layer", "synapse", "real-valued synapse")

    @property
    def reads_counts(self) -> bool:
        """Whether silence saves it anything."""
        return self.levels > 0 and self.macs > 0

    @property
    def firing_rate(self) -> float | None:
        """Mean spike of what it reads or emits, in [0, 1]; None of real values."""
        places = self.inputs * self.steps * self.levels
        return float(self.spikes.mean()) / places if places else None

    @property
    def nonzero(self) -> float | None:
        """Share of counts that are not zero; None of real values."""
        places = self.inputs * self.steps if self.levels else 0
        return float(self.events.mean()) / places if places else None

    def scaled(self, factor: float) -> Work:
        """The same layer at so many times the activity."""
        return self.changed({name: getattr(self, name) * factor for name in ACTIVITY})

    def changed(self, values: Mapping[str, Any]) -> Work:
        """The same layer with other values of some fields."""
        return replace(self, **values)


ACTIVITY = tuple(field.name for field in fields(Work) if field.type == "Tensor")
_OF_NEURONS = ("spikes", "events")
_PER_PASS = ("macs", "inputs", "outputs")


@dataclass(frozen=True)
class NeuronActivity:
    """How the neurons of one layer fire.

    Attributes:
        name: The layer's path.
        firing_rate: Mean spike in [0, 1].
        nonzero: Share of counts that are not zero.
        silent: Share of channels that never fired.
        saturated: Share of counts at D.
    """

    name: str
    firing_rate: float
    nonzero: float
    silent: float
    saturated: float


@dataclass(frozen=True)
class _Kernel:
    """One factor of a synapse, of either vocabulary."""

    weight: Tensor
    stride: int
    padding: int
    groups: int
    bits: int | None
    given: Shape
    reads: Shape


class WorkMeter:
    """Sums up work over batches; observes the execution of a network.

    Args:
        graph: A folded model's, or a deployed network's.
        steps: What if it had so many time steps: the spikes that a neuron emits in all of its time
            steps are spread over these, as evenly as they can be, and D is as much smaller or
            larger. Its own if omitted.
    """

    def __init__(self, graph: Graph | integer.Graph, steps: int | None = None) -> None:
        self.graph = graph
        self.steps = graph.input.steps if steps is None else steps
        self._counted = graph.counts if isinstance(graph, integer.Graph) else counts_of(graph)
        self._levels = {name: counts.levels for name, counts in self._counted.items()}
        self._last_use = {name: node.name for node in graph.nodes for name in node.inputs}
        self._counts: dict[str, Tensor] = {}
        self._shapes: dict[str, Shape] = {}
        self._seen: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        self._sizes: dict[str, Work] = {}
        self._fired: dict[str, Tensor] = {}
        self._full: dict[str, Tensor] = {}

    def observe(self, node: AnyNode, output: Tensor) -> None:
        """Takes part in an execution: is called after each node with its output [T*N, ...]."""
        if isinstance(node, operations.AnyInput):
            self._shapes = self.graph.shapes((output.shape[-2], output.shape[-1]))
        self._note_counts(node, output)
        for work in self._of_node(node, len(output) // self.graph.input.steps):
            self._sizes[work.name] = work
            for name in ACTIVITY:
                self._seen[work.name][name].append(getattr(work, name).cpu())
        for name in node.inputs:
            if self._last_use[name] == node.name:
                self._counts.pop(name, None)

    def _note_counts(self, node: AnyNode, output: Tensor) -> None:
        """Keeps an output that is counts, or the sum of such over pixels."""
        deployed = isinstance(self.graph, integer.Graph)
        source = node.inputs[0] if isinstance(node, operations.AnyPool) else node.name
        if source not in self._counted:
            return
        pixels = self._shapes[source].pixels if source != node.name else 1
        counts = output.double() if deployed else output.double() / self._counted[source].unit
        if not deployed:
            counts = (counts * pixels).round()
        own = self.graph.input.steps
        if self.steps != own:
            counts = _spread_evenly(counts, own, self.steps)
        most = self._counted[source].levels * pixels * own
        self._levels[node.name] = math.ceil(most / self.steps)
        self._counts[node.name] = counts

    def report(self, samples: int) -> tuple[Work, ...]:
        """The work of every layer, first to last.

        Args:
            samples: Inputs of the whole model, each of which may have shown this network several,
                such as regions of a photo, or none; each then counts the mean.
        """
        works = []
        for name, sizes in self._sizes.items():
            activity = {field: torch.cat(parts) for field, parts in self._seen[name].items()}
            seen = len(activity["spikes"])
            if seen != samples:
                of_sample = seen / samples
                activity = {f: (v.sum() / samples).expand(samples) for f, v in activity.items()}
                sizes = sizes.changed({f: getattr(sizes, f) * of_sample for f in _PER_PASS})
            works.append(sizes.changed(activity))
        return tuple(works)

    def neurons(self) -> tuple[NeuronActivity, ...]:
        """How each layer of neurons fired, first to last."""
        activities = []
        for name, fired in self._fired.items():
            work = self._sizes[name]
            places = work.outputs * work.steps * sum(map(len, self._seen[name]["spikes"]))
            spikes, events = (float(torch.cat(self._seen[name][f]).sum()) for f in _OF_NEURONS)
            silent = float((fired == 0).double().mean())
            full = float(self._full[name]) / places
            rate = spikes / places / work.levels
            activities.append(NeuronActivity(name, rate, events / places, silent, full))
        return tuple(activities)

    def _of_node(self, node: AnyNode, samples: int) -> list[Work]:
        match node:
            case Synapse() | integer.Synapse():
                return self._synapse(node, samples)
            case Neuron() | integer.Neuron():
                return [self._neuron(node, samples)]
            case operations.AnyAdd() if node.name not in self._counted:
                return [self._plain(node, "shortcut", samples)]
            case operations.AnyPool():
                return [self._plain(node, "sum", samples)]
            case operations.AnySpikeSum():
                return [self._spike_sum(node, samples)]
            case _:
                parts = dense_parts(node, [self._shapes[name] for name in node.inputs])
                return [self._product(node, parts, samples)] if parts else []

    def _base(self, name: str, kind: str, samples: int, **sizes: Any) -> Work:
        silent = torch.zeros(samples, dtype=torch.float64)
        return Work(name, kind, self.steps, **(dict.fromkeys(ACTIVITY, silent) | sizes))

    def _synapse(self, node: Synapse | integer.Synapse, samples: int) -> list[Work]:
        source = self.graph.by_name[node.inputs[0]]
        works = []
        for index, kernel in enumerate(_kernels(node, self._shapes[source.name])):
            counts = self._counts.get(source.name) if index == 0 else None
            kind = "synapse" if counts is not None else "real-valued synapse"
            if isinstance(source, operations.AnyInput) and index == 0:
                kind = "first layer"
            sizes: dict[str, Any] = {
                "macs": float(kernel.given.elements * kernel.weight[0].numel()),
                "inputs": float(kernel.reads.elements),
                "channels": float(kernel.reads.channels),
                "outputs": float(kernel.given.elements),
                "weights": float(kernel.weight.numel()),
                "weight_bits": kernel.bits,
                "is_matrix": kernel.weight.ndim == 2,
            }
            if counts is not None:
                sizes |= {"levels": self._levels[source.name]} | _activity(counts, samples)
                for name, read in (("spike", counts), ("event", (counts > 0).double())):
                    form = (kernel.weight, kernel.stride, kernel.padding, kernel.groups)
                    sizes[f"{name}_additions"] = _per_sample(reached(read, *form), samples)
            name = node.name if index == 0 else f"{node.name}[{index}]"
            works.append(self._base(name, kind, samples, **sizes))
        return works

    def _product(self, node: AnyNode, parts: list[tuple[str, float]], samples: int) -> Work:
        """Counts that meet counts or values: each spike adds a row of the other operand."""
        shapes = [self._shapes[name] for name in node.inputs]
        reading = operand_macs(node, shapes)
        spiking = {p: macs for p, macs in reading.items() if node.inputs[p] in self._counts}
        sizes: dict[str, Any] = {
            "macs": sum(macs for _, macs in parts),
            "outputs": float(self._shapes[node.name].elements),
            "weights": float(sum(s.elements for p, s in enumerate(shapes) if p not in spiking)),
        }
        silent = torch.zeros(samples, dtype=torch.float64)
        activity: dict[str, Tensor] = dict.fromkeys(ACTIVITY, silent)
        for position, macs in spiking.items():
            counts, shape = self._counts[node.inputs[position]], shapes[position]
            per_value = macs / shape.elements
            seen = _activity(counts, samples)
            seen["spike_additions"] = seen["spikes"] * per_value
            seen["event_additions"] = seen["events"] * per_value
            activity = {name: activity[name] + seen[name] for name in ACTIVITY}
            sizes["inputs"] = sizes.get("inputs", 0.0) + shape.elements
            sizes["channels"] = sizes.get("channels", 0.0) + shape.channels
            sizes["levels"] = max(sizes.get("levels", 0), self._levels[node.inputs[position]])
        return self._base(node.name, parts[-1][0], samples, **sizes, **activity)

    def _neuron(self, node: Neuron | integer.Neuron, samples: int) -> Work:
        shape = float(self._shapes[node.name].elements)
        sizes: dict[str, Any] = {"inputs": shape, "outputs": shape}
        if node.name in self._counted:
            counts, levels = self._counts[node.name], self._levels[node.name]
            sizes |= {"levels": levels} | _activity(counts, samples)
            fired, full = (
                counts.sum(0).view(counts.shape[1], -1).sum(1).cpu(),
                (counts == levels).sum().cpu(),
            )
            self._fired[node.name] = fired + self._fired.get(node.name, torch.zeros(()))
            self._full[node.name] = full + self._full.get(node.name, torch.zeros(()))
        if isinstance(node, integer.Neuron):
            sizes["leaks"] = node.leak.kind in ("share", "rest")
        elif node.dynamics is not None:
            sizes["leaks"] = 0 < node.dynamics.retain < 1 and node.dynamics.steps > 1
        return self._base(node.name, "neuron", samples, **sizes)

    def _spike_sum(self, node: AnyNode, samples: int) -> Work:
        """Each spike, or each count that is not zero, is one addition."""
        work = self._plain(node, "sum", samples)
        if (counts := self._counts.get(node.inputs[0])) is None:
            return work
        seen = _activity(counts, samples)
        seen |= {"spike_additions": seen["spikes"], "event_additions": seen["events"]}
        return work.changed({"levels": self._levels[node.inputs[0]]} | seen)

    def _plain(self, node: AnyNode, kind: str, samples: int) -> Work:
        read = max(self._shapes[name].elements for name in node.inputs)
        given = self._shapes[node.name].elements
        return self._base(node.name, kind, samples, inputs=float(read), outputs=float(given))


def _kernels(node: Synapse | integer.Synapse, reads: Shape) -> list[_Kernel]:
    if isinstance(node, integer.Synapse):
        given = node.infer_shape(reads)
        stated = (node.stride, node.padding, node.groups, node.bits)
        return [_Kernel(node.weight, *stated, given, reads)]
    kernels = []
    for factor, given in zip(node.factors, node.factor_shapes(reads), strict=True):
        if not factor.is_diagonal:
            form = (factor.stride, factor.padding, factor.groups, factor.bits)
            kernels.append(_Kernel(factor.weight, *form, given, reads))
        reads = given
    return kernels


def _activity(counts: Tensor, samples: int) -> dict[str, Tensor]:
    """What binary spikes and nonzero counts [T*N, C, ...] say and ask for, per sample."""
    by_channel = counts.flatten(2) if counts.ndim > 2 else counts.unsqueeze(-1)
    nonzero = by_channel > 0
    return {
        "spikes": _per_sample(by_channel.sum((1, 2)), samples),
        "events": _per_sample(nonzero.sum((1, 2)), samples),
        "spike_fetches": _per_sample(by_channel.amax(-1).sum(1), samples),
        "event_fetches": _per_sample(nonzero.any(-1).sum(1), samples),
    }


def _spread_evenly(counts: Tensor, steps: int, wanted: int) -> Tensor:
    """Counts [T*N, ...] as counts [T'*N, ...] of the same sums over time, earlier ones larger."""
    total = counts.unflatten(0, (steps, -1)).sum(0)
    each, left = total.div(wanted, rounding_mode="floor"), total.remainder(wanted)
    return torch.cat([each + (left > step) for step in range(wanted)])


def _per_sample(values: Tensor, samples: int) -> Tensor:
    """The sum over time steps [T*N] -> [N]."""
    return values.double().view(-1, samples).sum(0)
