"""The integer network in NIR's primitives, as far as they can say it, and back.

NIR's equations hold real numbers and binary spikes. A count is the sum of D thresholds, an addition
is two edges into one node, and a neuron over time is NIR's IF or LIF at a time step of 1. The input
is the image already rounded to integers. The integers behind the real numbers, such as shifts, are
carried as metadata, from which `from_nir` makes the same network again.
"""

from __future__ import annotations

import json
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spikesight.deployment.description import CARD_KEY, Tensors, described
from spikesight.deployment.export.exactness import ExportError, prove_at, refuse_segmenter
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer

_KEY = "spikesight"
_Array = npt.NDArray[np.floating[Any]]
_Facts = dict[str, Any]


def to_nir(
    graph: integer.Graph, size: tuple[int, int], card: str | None = None
) -> tuple[Any, list[str]]:
    """Writes a network as a `nir.NIRGraph`.

    Args:
        graph: The network.
        size: Height and width of the inputs; NIR's tensors have fixed sizes.
        card: How inputs are prepared and what classes are called, as run.json says it, which the
            metadata carry.

    Returns:
        The graph, and one line for each node whose primitive is close but not equal to the integer
        rule: what differs, after the node's name. Without such lines NIR's own equations give
        every count exactly.

    Raises:
        ExportError: If no primitive is even close; names all such nodes.
        UserError: If the network does not take this size.
    """
    return _Writer(graph, size).run(card)


def from_nir(network: Any) -> integer.Graph:
    """Reads a network that `to_nir` wrote.

    Args:
        network: The `nir.NIRGraph`, for example from `nir.read`.

    Returns:
        The network, equal to the one that was written.

    Raises:
        UserError: If the graph was not written by `to_nir`.
    """
    about = _facts_of(network, "the graph")
    if about is None:
        raise UserError("the NIR graph carries no spikesight metadata; write it with to_nir")
    found: list[tuple[int, integer.Node]] = []
    levels: dict[str, list[Any]] = {}
    for name, node in network.nodes.items():
        facts = _facts_of(node, name)
        if facts is None:
            continue
        try:
            if facts["kind"] == "IntegerNeuron":
                levels.setdefault(facts["name"], [None] * facts["nodes"])[facts["node"]] = node
                if any(level is None for level in levels[facts["name"]]):
                    continue
            found.append((facts["position"], _read(facts, levels.get(facts["name"], [node]))))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise UserError(f"NIR node {name} has damaged spikesight metadata: {error}") from error
    found.sort(key=lambda pair: pair[0])
    if [position for position, _ in found] != list(range(about["nodes"])):
        raise UserError(f"the NIR graph holds {len(found)} of {about['nodes']} nodes")
    height, width = about["max_size"]
    return integer.Graph(tuple(node for _, node in found), (height, width))


class _Writer:
    def __init__(self, graph: integer.Graph, size: tuple[int, int]) -> None:
        import nir

        self.nir: Any = nir
        self.graph = graph
        self.size = size
        refuse_segmenter(graph.segmenter_node, "NIR", "has no primitive for it")
        self.reaches = prove_at(graph, size)
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.ends: dict[str, list[str]] = {}
        self.unsaid: list[str] = []

    def run(self, card: str | None) -> tuple[Any, list[str]]:
        refused = [
            f"{node.name} ({reason})"
            for node in self.graph.nodes
            if (reason := _why_unsayable(node)) is not None
        ]
        if refused:
            raise ExportError(
                f"NIR has no primitive for {', '.join(refused)}; export to .onnx or .xml"
            )
        for position, node in enumerate(self.graph.nodes):
            self._write(node, {"kind": f"Integer{type(node).__name__}", "position": position})
        about = {
            "nodes": len(self.graph.nodes),
            "max_size": self.graph.max_size,
            "version": self.graph.version,
        }
        carried = {
            _KEY: json.dumps(about),
            CARD_KEY: described(card, self.graph, Tensors.integers(self.size)),
        }
        network = self.nir.NIRGraph(self.nodes, self.edges, carried)
        return network, self.unsaid

    def _write(self, node: integer.Node, facts: _Facts) -> None:
        facts |= {"name": node.name, "inputs": node.inputs}
        shape = self._shape(node.name)
        match node:
            case integer.Input():
                facts |= _plain_fields(node, "steps", "channels", "stride", "shift", "low", "high")
                self._add(node, facts, self.nir.Input(np.array(shape)))
            case integer.Synapse():
                self._add(node, facts | _synapse_facts(node), self._synapse(node))
            case integer.Neuron():
                self._neuron(node, facts | _neuron_facts(node))
            case integer.Add():
                self._add(node, facts, self.nir.Scale(np.ones(shape, np.float32)))
            case (
                integer.Attention()
                | integer.CurrentProduct()
                | integer.Gate()
                | integer.MaxPool()
                | integer.SpikeSum()
            ):
                raise AssertionError(f"{node.name} should have been refused")
            case integer.Pool():
                kernel = np.array(self.reaches[node.inputs[0]].shape.size)
                self._add(node, facts, self.nir.SumPool2d(kernel, kernel, np.array([0, 0])))
                flat = self.nir.Flatten(np.array([*shape, 1, 1]), 0, -1)
                self._append(node, flat)
            case integer.Output():
                facts |= _plain_fields(node, "steps", "scale")
                self._add(node, facts, self.nir.Output(np.array(shape)))
                if node.steps > 1:
                    integrator = f"{node.name}@sum"
                    self.nodes[integrator] = self.nir.I(np.ones(shape, np.float32))
                    self.edges = [
                        (source, integrator if target == node.name else target)
                        for source, target in self.edges
                    ]
                    self.edges.append((integrator, node.name))
            case _:
                assert not isinstance(node, integer.SEGMENTER_NODES)
                assert_never(node)

    def _synapse(self, node: integer.Synapse) -> Any:
        """Shifts enter the real weights and biases; what a right shift drops stays."""
        shift = node.shift.double()
        if bool((shift < 0).any()):
            bits = int(-node.shift.min())
            self.unsaid.append(f"{node.name}: rounds down after a right shift of {bits} bits")
        factor = torch.exp2(shift).reshape(-1, *[1] * (node.weight.ndim - 1))
        weight = _shortest(node.weight.double() * factor)
        bias = _shortest(node.bias.double() * torch.exp2(shift.clamp(max=0)))
        if node.is_linear:
            return self.nir.Affine(weight, bias)
        # NIR 1.0 takes a grouped convolution's input to have the channels of one group.
        dense, size = _dense(weight, node.groups), self.reaches[node.inputs[0]].shape.size
        return self.nir.Conv2d(size, dense, node.stride, node.padding, 1, 1, bias)

    def _neuron(self, node: integer.Neuron, facts: _Facts) -> None:
        thresholds, scale = _real_thresholds(node, self.reaches[node.inputs[0]].pixels)
        for level in range(node.levels):
            threshold = self._spread(thresholds[:, level], node)
            if node.steps == 1 or node.leak.kind == "none":
                primitive = self.nir.Threshold(threshold)
            else:
                primitive = self._over_time(node, threshold, scale)
            name = node.name if node.levels == 1 else f"{node.name}@{level + 1}"
            about = facts | {"node": level, "nodes": node.levels}
            about["pixels"] = self.reaches[node.inputs[0]].pixels
            self._add(node, about, primitive, name)

    def _over_time(self, node: integer.Neuron, threshold: _Array, gain: float) -> Any:
        if node.reset == "soft":
            self.unsaid.append(f"{node.name}: subtracts from the membrane where NIR resets it")
        bias = node.bias * self.reaches[node.inputs[0]].pixels
        zero, one = np.zeros_like(threshold), np.ones_like(threshold)
        if node.leak.kind == "all":
            if bool(bias.any()):
                self.unsaid.append(f"{node.name}: adds a bias in every time step")
            return self.nir.IF(one * gain, threshold, zero)
        self.unsaid.append(f"{node.name}: rounds its leak down")
        share = 2.0**-node.leak.shift
        tau = 1 / (1 - share) if node.leak.kind == "share" else 1 / share
        rest = self._spread(bias.double() * tau, node)
        return self.nir.LIF(one * tau, one * (tau * gain), rest, threshold, zero)

    def _spread(self, values: Tensor, node: integer.Neuron) -> _Array:
        """Values [C] or [1] for every neuron of a map."""
        channels, *size = self._shape(node.name)
        return _shortest(values.reshape(-1, *[1] * len(size)).expand(channels, *size))

    def _add(self, node: integer.Node, facts: _Facts, primitive: Any, name: str = "") -> None:
        name = name or node.name
        primitive.metadata = {_KEY: json.dumps(facts)}
        self.nodes[name] = primitive
        self.edges += [(end, name) for source in node.inputs for end in self.ends[source]]
        self.ends.setdefault(node.name, []).append(name)

    def _append(self, node: integer.Node, primitive: Any) -> None:
        """Puts a primitive behind a node."""
        (before,), after = self.ends[node.name], f"{node.name}@{type(primitive).__name__.lower()}"
        self.nodes[after] = primitive
        self.edges.append((before, after))
        self.ends[node.name] = [after]

    def _shape(self, name: str) -> tuple[int, ...]:
        reach = self.reaches[name]
        return (reach.interval.low.numel(), *reach.shape.size)


def _dense(weight: _Array, groups: int) -> _Array:
    """The kernel [C_out, C_in, k_h, k_w] of a grouped one, with zeros between the groups."""
    rows, columns, *sides = weight.shape
    dense = np.zeros((groups, rows // groups, groups, columns, *sides), weight.dtype)
    for group, part in enumerate(np.split(weight, groups)):
        dense[group, :, group] = part
    return dense.reshape(rows, groups * columns, *sides)


def _why_unsayable(node: integer.Node) -> str | None:
    if isinstance(node, integer.Attention | integer.Gate):
        return "a product of spikes with spikes"
    if isinstance(node, integer.CurrentProduct):
        return "a product of a current with spikes"
    if isinstance(node, integer.SpikeSum):
        return "a sum of spikes that gates them"
    if isinstance(node, integer.MaxPool):
        return "a maximum over pixels"
    if (
        isinstance(node, integer.Neuron)
        and node.steps > 1
        and node.leak.kind != "none"
        and node.levels > 1
    ):
        return f"a membrane that fires up to {node.levels} spikes per time step"
    if isinstance(node, integer.Add) and len(set(node.inputs)) < len(node.inputs):
        return "a value added to itself"
    return None


def _real_thresholds(node: integer.Neuron, pixels: int) -> tuple[Tensor, float]:
    """Thresholds [C, D] or [1, D] that NIR's v > threshold means, and the current's gain.

    A stateless neuron compares the bare current; a membrane is on its own grid.
    """
    gain = 2.0**node.shift
    half = node.thresholds.double() * pixels - 0.5
    if node.steps == 1 or node.leak.kind == "none":
        return (half - node.bias.double().reshape(-1, 1) * pixels) / gain, gain
    return half, gain


def _plain_fields(node: integer.Node, *names: str) -> _Facts:
    return {name: getattr(node, name) for name in names}


def _synapse_facts(node: integer.Synapse) -> _Facts:
    return {
        "bits": node.bits,
        "groups": node.groups,
        "shift": _list(node.shift),
        "types": [str(values.dtype)[6:] for values in (node.weight, node.bias)],
    }


def _neuron_facts(node: integer.Neuron) -> _Facts:
    form = node.rounding
    return {
        **_plain_fields(node, "steps", "levels", "shift", "reset", "per_pixel"),
        "leak": [node.leak.kind, node.leak.shift],
        "rows": len(node.thresholds),
        "step": _list(node.step),
        "bias": _list(node.bias),
        "rounding": None if form is None else [_list(form.gain), _list(form.offset)],
    }


def _read(facts: _Facts, primitives: list[Any]) -> integer.Node:
    name, inputs = facts["name"], tuple(facts["inputs"])
    match facts["kind"]:
        case "IntegerInput":
            fields = ("steps", "channels", "stride", "shift", "low", "high")
            return integer.Input(name, inputs, *(int(facts[field]) for field in fields))
        case "IntegerSynapse":
            return _read_synapse(facts, name, inputs, primitives[0])
        case "IntegerNeuron":
            return _read_neuron(facts, name, inputs, primitives)
        case "IntegerAdd":
            return integer.Add(name, inputs)
        case "IntegerPool":
            return integer.Pool(name, inputs)
        case "IntegerOutput":
            return integer.Output(name, inputs, int(facts["steps"]), float(facts["scale"]))
        case kind:
            raise UserError(f"NIR node {name} is of the unknown kind {kind!r}")


def _read_synapse(
    facts: _Facts, name: str, inputs: tuple[str, ...], primitive: Any
) -> integer.Synapse:
    shift = _tensor(facts["shift"])
    weight_type, bias_type = (getattr(torch, kind) for kind in facts["types"])
    groups = int(facts["groups"])
    weight = torch.from_numpy(np.array(primitive.weight, np.float64))
    weight = torch.cat([rows.chunk(groups, 1)[i] for i, rows in enumerate(weight.chunk(groups))])
    factor = torch.exp2(-shift.double()).reshape(-1, *[1] * (weight.ndim - 1))
    bias = torch.from_numpy(np.array(primitive.bias, np.float64))
    bias = bias * torch.exp2((-shift.double()).clamp(min=0))
    linear = weight.ndim == 2
    return integer.Synapse(
        name,
        inputs,
        weight=(weight * factor).round().to(weight_type),
        bits=int(facts["bits"]),
        stride=1 if linear else int(primitive.stride[0]),
        padding=0 if linear else int(primitive.padding[0]),
        groups=groups,
        shift=shift,
        bias=bias.round().to(bias_type),
    )


def _read_neuron(
    facts: _Facts, name: str, inputs: tuple[str, ...], primitives: list[Any]
) -> integer.Neuron:
    kind, leak_shift = facts["leak"]
    steps, rows, shift, pixels = (int(facts[key]) for key in ("steps", "rows", "shift", "pixels"))
    bias, stateless = _tensor(facts["bias"]), steps == 1 or kind == "none"
    columns = []
    for primitive in primitives:
        values = primitive.threshold if stateless else primitive.v_threshold
        column = torch.from_numpy(np.array(values, np.float64)).reshape(len(values), -1)[:rows, 0]
        if stateless:
            column = column * 2.0**shift + bias.double() * pixels
        columns.append(((column + 0.5) / pixels).round().to(torch.int64))
    form = facts["rounding"]
    return integer.Neuron(
        name,
        inputs,
        steps=steps,
        levels=int(facts["levels"]),
        thresholds=torch.stack(columns, 1),
        step=_tensor(facts["step"]),
        bias=bias,
        shift=shift,
        leak=integer.Leak(kind, int(leak_shift)),
        reset=facts["reset"],
        per_pixel=bool(facts["per_pixel"]),
        rounding=None if form is None else integer.Rounding(*(_tensor(part) for part in form)),
    )


def _facts_of(node: Any, name: str) -> _Facts | None:
    text = (node.metadata or {}).get(_KEY)
    if text is None:
        return None
    try:
        facts = json.loads(text)
    except (TypeError, ValueError) as error:
        raise UserError(f"NIR node {name} has damaged spikesight metadata: {error}") from error
    if not isinstance(facts, dict):
        raise UserError(f"NIR node {name} has damaged spikesight metadata: not an object")
    return facts


def _list(values: Tensor) -> _Facts:
    return {"type": str(values.dtype)[6:], "values": values.tolist()}


def _tensor(stored: _Facts) -> Tensor:
    types = {"int8": torch.int8, "int32": torch.int32, "int64": torch.int64}
    types["float32"] = torch.float32
    return torch.tensor(stored["values"], dtype=types[stored["type"]])


def _shortest(values: Tensor) -> _Array:
    """The values in float32 if it holds them, else in float64."""
    exact: _Array = values.double().contiguous().numpy()
    short: _Array = exact.astype(np.float32)
    return short if np.array_equal(short, exact) else exact
