"""Integer networks drawn node by node: shapes, ties and readers that no model has."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spikesight.deployment.spk.check import InvalidNetworkError, check_network
from spikesight.graph import integer_vocabulary as integer
from spikesight.graph.operations import ShapeError
from spikesight.passes.ranges import RangeError, prove_ranges


@dataclass(frozen=True)
class _Value:
    """A count, or a current on the residual stream.

    Attributes:
        name: The node.
        channels: Its channels.
        size: Height and width of its map.
    """

    name: str
    channels: int
    size: tuple[int, int]


class _Drawing:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = self.rng.choice([1, 1, 1, 1, 2])
        self.nodes: list[integer.Node] = []
        self.counts: list[_Value] = []
        self.currents: list[_Value] = []
        self.largest = self.rng.choice([1, 3, 7, 31, 127])
        self.widths = self.rng.sample([1, 3, 4, 8, 12, 16, 32], 2)
        self.size = (self.rng.randint(1, 8), self.rng.randint(1, 8))

    def run(self) -> integer.Graph:
        channels = self.rng.choice([1, 2, 3])
        image = integer.Input("image", (), self.steps, channels, 1, 5, -128, 127)
        self.nodes.append(image)
        weights = self.rng.choice([3, 63, 127])
        self.neuron(self.synapse(_Value("image", channels, self.size), largest=weights))
        for _ in range(self.rng.randint(2, 12)):
            self.grow()
        last = self.rng.choice(self.counts[-3:])
        current = self.synapse(last, width=self.rng.choice([1, 5]), kernel=1, stride=1)
        self.nodes.append(integer.Pool("pool", (current.name,)))
        self.nodes.append(integer.Output("out", ("pool",), self.steps, 1.0))
        return integer.Graph(self._read(), self.size)

    def _read(self) -> tuple[integer.Node, ...]:
        """Nodes that the output depends on."""
        needed, kept = {"out"}, []
        for node in reversed(self.nodes):
            if node.name in needed:
                kept.append(node)
                needed |= set(node.inputs)
        return tuple(reversed(kept))

    def grow(self) -> None:
        kinds = ["synapse"] * 4 + ["add"] * 3 + ["stream"] * 2 + ["gate"] * 2
        match self.rng.choice([*kinds, "pool", "attend", "sum", "maximum", "compare"]):
            case "synapse":
                self.neuron(self.synapse(self.rng.choice(self.counts)))
            case "gate":
                self.gate(self.rng.choice(self._neurons()), self._neurons())
            case "sum":
                self.spike_sum(self.rng.choice(self.counts))
            case "compare":
                self.compare(self.rng.choice(self._neurons()))
            case "maximum":
                current = self.synapse(self.rng.choice(self.counts), shifts=True)
                if (highest := self.maximum(current)) is not None:
                    self.currents.append(highest)
                    self.neuron(highest)
            case "add":
                first = self.rng.choice(self.counts)
                second = self.rng.choice(_like(first, self.counts))
                self.counts.append(self.sum(first, second))
            case "stream":
                current = self.synapse(self.rng.choice(self.counts), shifts=True)
                peers = _like(current, self.currents)
                if peers and self.rng.random() < 0.8:
                    current = self.sum(self.rng.choice(peers), current)
                self.currents.append(current)
                self.neuron(current)
            case "pool":
                if (highest := self.maximum(self.rng.choice(self._neurons()))) is not None:
                    self.counts.append(highest)
            case "attend":
                first = self.rng.choice(self.counts)
                of_a_size = [count for count in self.counts if count.size == first.size]
                key = self.rng.choice(_like(first, self.counts))
                self.attend(first, key, self.rng.choice(of_a_size))

    def sum(self, first: _Value, second: _Value) -> _Value:
        name = f"add{len(self.nodes)}"
        self.nodes.append(integer.Add(name, (first.name, second.name)))
        return _Value(name, first.channels, first.size)

    def _neurons(self) -> list[_Value]:
        """Counts of few levels, whose maxima have spikes; those of sums and products have none."""
        return [value for value in self.counts if value.name.startswith("neuron")]

    def gate(self, source: _Value, gates: list[_Value]) -> None:
        """By one of the same size or of one pixel, for as many channels each, if there is one."""
        fitting = [
            gate
            for gate in gates
            if source.channels % gate.channels == 0 and gate.size in (source.size, (1, 1))
        ]
        if fitting:
            name = f"gate{len(self.nodes)}"
            self.nodes.append(integer.Gate(name, (source.name, self.rng.choice(fitting).name)))
            self.counts.append(_Value(name, source.channels, source.size))

    def spike_sum(self, source: _Value) -> None:
        """Over tokens, or over the channels of heads; a neuron reads it, and gates a map."""
        name = f"sum{len(self.nodes)}"
        if self.rng.random() < 0.5:
            self.nodes.append(integer.SpikeSum(name, (source.name,), "tokens"))
            total = _Value(name, source.channels, (1, 1))
        else:
            heads = self.rng.choice([h for h in (1, 2, 4) if source.channels % h == 0])
            self.nodes.append(integer.SpikeSum(name, (source.name,), "channels", heads))
            total = _Value(name, heads, source.size)
        self.neuron(total)
        self.gate(source, self.counts[-1:])

    def maximum(self, source: _Value) -> _Value | None:
        if min(source.size) < 2:
            return None
        name = f"max{len(self.nodes)}"
        kernel, stride, padding = self.rng.choice([(3, 2, 1), (2, 2, 0), (3, 1, 1)])
        self.nodes.append(integer.MaxPool(name, (source.name,), kernel, stride, padding))
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in source.size)
        return _Value(name, source.channels, (height, width)) if min(height, width) > 0 else None

    def attend(self, query: _Value, key: _Value, value: _Value) -> None:
        divided = math.gcd(query.channels, value.channels)
        heads = self.rng.choice([h for h in (1, 2, 4) if divided % h == 0])
        name = f"attention{len(self.nodes)}"
        inputs = (query.name, key.name, value.name)
        self.nodes.append(integer.Attention(name, inputs, heads))
        self.neuron(_Value(name, value.channels, query.size), shrink=8)

    def compare(self, source: _Value) -> None:
        """Keys of currents with spikes, and values of currents with the spikes that come of it."""
        kernel, stride = self.rng.choice([(1, 1), (3, 2), (1, 2)])
        key, value = (
            self.synapse(source, width=source.channels, kernel=kernel, stride=stride, shifts=True)
            for _ in range(2)
        )
        heads = self.rng.choice([h for h in (1, 2, 4) if source.channels % h == 0])
        keys = key.size[0] * key.size[1]
        compared = _Value(f"compared{len(self.nodes)}", heads * keys, source.size)
        inputs = (key.name, source.name)
        self.nodes.append(integer.CurrentProduct(compared.name, inputs, "channels", heads, keys))
        self.neuron(compared, shrink=4)
        attended = _Value(f"attended{len(self.nodes)}", source.channels, source.size)
        inputs = (value.name, self.counts[-1].name)
        self.nodes.append(integer.CurrentProduct(attended.name, inputs, "keys", heads, keys))
        self.neuron(attended, shrink=4)

    def synapse(
        self,
        source: _Value,
        *,
        width: int | None = None,
        kernel: int | None = None,
        stride: int | None = None,
        largest: int | None = None,
        shifts: bool = False,
    ) -> _Value:
        rng = self.rng
        kernel = rng.choice([1, 1, 1, 3, 3, 5]) if kernel is None else kernel
        stride = rng.choice([1, 1, 1, 1, 2]) if stride is None else stride
        groups = source.channels if width is None and rng.random() < 0.2 else 1
        width = rng.choice([*self.widths, source.channels]) if width is None else width
        width = source.channels if groups > 1 else width
        largest = self.largest if largest is None else largest
        weight = self.integers(-largest, largest, width, source.channels // groups, kernel, kernel)
        name = f"synapse{len(self.nodes)}"
        zeros = torch.zeros(width, dtype=torch.int64)
        self.nodes.append(
            integer.Synapse(
                name,
                (source.name,),
                weight=weight.to(torch.int8),
                bits=8,
                stride=stride,
                padding=kernel // 2,
                groups=groups,
                shift=self.integers(-4, 2, width) if shifts else zeros,
                bias=self.integers(-40, 40, width) if shifts else zeros,
            )
        )
        height, across = ((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in source.size)
        return _Value(name, width, (height, across))

    def neuron(self, current: _Value, shrink: int = 0) -> None:
        """Gains are powers of two or short multiples of them, so that ties abound."""
        rng = self.rng
        levels = rng.choice([1, 2, 3, 4, 8])
        bits = rng.randint(0, 9) + shrink
        gain = rng.choice([1, 1, 3, 5]) * 2.0**-bits
        offsets = self.integers(-8, 16, current.channels).double() / 8
        name = f"neuron{len(self.nodes)}"
        thresholds = torch.tensor(
            [
                [_first(gain, float(offset), level) for level in range(1, levels + 1)]
                for offset in offsets
            ]
        )
        rounds = self.steps == 1 and rng.random() < 0.9
        zero = torch.zeros(1, dtype=torch.int64)
        self.nodes.append(
            integer.Neuron(
                name,
                (current.name,),
                steps=self.steps,
                levels=levels,
                thresholds=thresholds,
                step=thresholds[:, :1].abs().flatten() if self.steps > 1 else zero,
                bias=zero,
                shift=0,
                leak=rng.choice(
                    [
                        integer.Leak("none"),
                        integer.Leak("all"),
                        integer.Leak("share", 1),
                        integer.Leak("rest", 2),
                    ]
                )
                if self.steps > 1
                else integer.Leak("none"),
                reset="soft",
                per_pixel=False,
                rounding=integer.Rounding(
                    torch.tensor([gain], dtype=torch.float32), offsets.to(torch.float32)
                )
                if rounds
                else None,
            )
        )
        self.counts.append(_Value(name, current.channels, current.size))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=self.generator)


def _like(value: _Value, others: list[_Value]) -> list[_Value]:
    """Those of the same shape."""
    shape = (value.channels, value.size)
    return [other for other in others if (other.channels, other.size) == shape]


def _first(gain: float, offset: float, level: int) -> int:
    """The first integer X at which round(gain * X + offset) reaches a level; ties go to even."""
    first = math.ceil((level - 0.5 - offset) / gain)
    return first + (gain * first + offset == level - 0.5 and level % 2)


def random_graph(seed: int) -> integer.Graph | None:
    """A network drawn by a seed; None if it needs more than 32 bits or its shapes do not fit.

    Args:
        seed: The seed.
    """
    graph = _Drawing(seed).run()
    try:
        prove_ranges(graph)
    except (RangeError, ShapeError):
        return None
    return graph


def with_own_gains(graph: integer.Graph) -> integer.Graph:
    """The network with a gain for each channel, as files hold it.

    Args:
        graph: A network whose neurons may have one for all.
    """
    return replace(graph, nodes=tuple(map(_with_own_gains, graph.nodes)))


def is_a_file(graph: integer.Graph) -> bool:
    """Whether a network is one that files hold: these know no attention between sums or products.

    Args:
        graph: The network.
    """
    try:
        check_network(graph)
    except InvalidNetworkError as error:
        if "reads something else than neurons" not in str(error):
            raise
        return False
    return True


def _with_own_gains(node: integer.Node) -> integer.Node:
    if not isinstance(node, integer.Neuron) or node.rounding is None:
        return node
    offset = node.rounding.offset
    gain = node.rounding.gain.expand_as(offset).clone()
    return replace(node, rounding=integer.Rounding(gain, offset))
