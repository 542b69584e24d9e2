"""A deployed network as JSON and tensors, and back; what comes back is checked field by field."""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from spikesight.attention.current_product import WeightedAxis
from spikesight.attention.gate import SummedAxis
from spikesight.errors import UserError
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32
from spikesight.synapses.bit_packing import pack, packed_length, unpack

_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)

# Within these limits no arithmetic of the range proof leaves 64 bits unnoticed, and what reading
# allocates grows with the file alone.
_MOST_NODES = 4096
_MOST_NAME = 200
_MOST_SIDE = 2**16
_MOST_WEIGHTS = 2**28
_MOST_WEIGHTS_PER_OUTPUT = 2**24

_STEPS = (1, 2**16)
_CHANNELS = (1, 2**16)
_KERNEL_STEP = (1, 255)
_SHIFT = (-31, 31)
_LEFT_SHIFT = (0, 31)
_INT32 = (1 - 2**31, 2**31 - 1)
_EXACT = (-EXACT_IN_FLOAT32, EXACT_IN_FLOAT32)
# A channel of tiny weights may have thresholds out of reach, beyond 32 bits; float64 holds these.
_THRESHOLD = (-(2**53), 2**53)

# Written where they are true alone.
_FLAGS = {"Attention": "mean", "Output": "of_queries"}

_LEAKS = ("none", "all", "share", "rest")
_RESETS = ("soft", "hard")

DAMAGED = "copy it again from where it came from"
_UNUSABLE = "do not use it; save the network again"

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60

T = TypeVar("T", int, bool, float, str)


@dataclass(frozen=True)
class _Kind:
    """A type of node.

    Attributes:
        node: Its class.
        inputs: How many nodes it reads.
        integers: Smallest and largest value of its integers.
        tensors: Dimensions, smallest and largest value of its integer tensors.
    """

    node: type[integer.Node]
    inputs: int
    integers: dict[str, tuple[int, int]]
    tensors: dict[str, tuple[int, int, int]]


_KINDS = {
    "Input": _Kind(
        integer.Input,
        0,
        {
            "steps": _STEPS,
            "channels": _CHANNELS,
            "stride": (1, _MOST_SIDE),
            "shift": _SHIFT,
            "low": _EXACT,
            "high": _EXACT,
        },
        {},
    ),
    "Synapse": _Kind(
        integer.Synapse,
        1,
        {"bits": (2, 8), "stride": _KERNEL_STEP, "padding": (0, 255), "groups": _CHANNELS},
        {"shift": (1, *_SHIFT), "bias": (1, *_INT32)},
    ),
    "Neuron": _Kind(
        integer.Neuron,
        1,
        {"steps": _STEPS, "levels": (1, 255), "shift": _LEFT_SHIFT},
        {"thresholds": (2, *_THRESHOLD), "step": (1, 0, _INT32[1]), "bias": (1, *_INT32)},
    ),
    "Add": _Kind(integer.Add, 2, {}, {}),
    "Gate": _Kind(integer.Gate, 2, {}, {}),
    "SpikeSum": _Kind(integer.SpikeSum, 1, {"heads": _CHANNELS}, {}),
    "CurrentProduct": _Kind(integer.CurrentProduct, 2, {"heads": _CHANNELS, "keys": _CHANNELS}, {}),
    "Attention": _Kind(integer.Attention, 3, {"heads": _CHANNELS}, {}),
    "Pool": _Kind(integer.Pool, 1, {}, {}),
    "MaxPool": _Kind(
        integer.MaxPool,
        1,
        {"kernel": (1, 255), "stride": _KERNEL_STEP, "padding": (0, 127)},
        {},
    ),
    "Embedding": _Kind(integer.Embedding, 1, {}, {"value": (4, *_INT32)}),
    "Position": _Kind(integer.Position, 1, {"channels": _CHANNELS, "shift": _LEFT_SHIFT}, {}),
    "Resize": _Kind(integer.Resize, 2, {}, {}),
    "Sample": _Kind(
        integer.Sample,
        3,
        {
            "groups": _CHANNELS,
            "side": (1, 15),
            "offset_shift": _LEFT_SHIFT,
            "position_bits": (0, 8),
        },
        {},
    ),
    "MaskProduct": _Kind(integer.MaskProduct, 2, {"inhibitory": (0, _CHANNELS[1])}, {}),
    "Output": _Kind(integer.Output, 1, {"steps": _STEPS}, {}),
}


class FaultError(Exception):
    """What is wrong with a file, and what to do about it."""

    def __init__(self, problem: str, remedy: str = _UNUSABLE) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem


def describe(graph: integer.Graph) -> tuple[str, dict[str, Tensor]]:
    """A network as JSON text and tensors named node.field.

    Raises:
        FaultError: If a field has no form in JSON, or a weight does not fit its bits.
    """
    tensors: dict[str, Tensor] = {}
    names = {kind.node: name for name, kind in _KINDS.items()}
    entries = []
    for node in graph.nodes:
        shapes: dict[str, list[int]] = {}
        entry: dict[str, object] = {"type": names[type(node)]}
        for field, value in _values(node):
            if isinstance(value, Tensor):
                shapes[field] = list(value.shape)
                tensors[f"{node.name}.{field}"] = _stored(node, field, value.detach().cpu())
            elif isinstance(value, integer.Leak):
                entry[field] = {"kind": value.kind, "shift": value.shift}
            elif value is not None:
                entry[field] = value
        entries.append(entry | {"tensors": shapes})
    description = {"vocabulary": graph.version, "max_size": graph.max_size, "nodes": entries}
    try:
        text = json.dumps(description, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FaultError(f"a field has no form in JSON ({error})") from None
    return text, tensors


def _values(node: integer.Node) -> list[tuple[str, object]]:
    values: list[tuple[str, object]] = []
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, integer.Rounding):
            values += [("rounding.gain", value.gain), ("rounding.offset", value.offset)]
        elif value is not False or field.name not in _FLAGS.values():
            values.append((field.name, value))
    return values


def _stored(node: integer.Node, field: str, tensor: Tensor) -> Tensor:
    """The smallest form of a tensor."""
    if isinstance(node, integer.Synapse) and field == "weight":
        try:
            return pack(tensor, node.bits)
        except UserError as error:
            raise FaultError(f"{node.name}: {error}") from None
    if tensor.is_floating_point():
        return tensor.float()
    low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, 0)
    dtype = next(d for d in _INTEGERS if torch.iinfo(d).min <= low and high <= torch.iinfo(d).max)
    return tensor.to(dtype)


def build(text: object, tensors: dict[str, Tensor]) -> integer.Graph:
    """The network that JSON text and tensors describe, each field within its limits.

    Raises:
        FaultError: If they describe none; names the node and the field.
    """
    try:
        description = parse(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        description = None
    graph = _Entry("the graph", description)
    version = graph.take("vocabulary", int)
    if not 1 <= version <= integer.INTEGER_VOCABULARY_VERSION:
        refuse_version(version, integer.INTEGER_VOCABULARY_VERSION)
    entries = graph.take_list("nodes", most=_MOST_NODES)
    height, width = graph.take_sizes("max_size", 2, 2, _MOST_SIDE)
    graph.finish()
    left = dict(tensors)
    nodes: list[integer.Node] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        node = _node(_Entry(f"node {index}", entry), left)
        if node.name in names:
            raise FaultError(f"two nodes are named {node.name!r}")
        unknown = [name for name in node.inputs if name not in names]
        if unknown:
            raise FaultError(f"{node.name!r} reads {short(unknown)} before it exists")
        names.add(node.name)
        nodes.append(node)
    if left:
        raise FaultError(f"tensors {short(sorted(left))} belong to no node")
    network = integer.Graph(tuple(nodes), (height, width))
    if version != network.version:
        raise FaultError(f"its nodes are of vocabulary {network.version} and it says {version}")
    return network


def parse(text: str) -> Any:
    """JSON whose objects have each key once.

    Raises:
        ValueError: If it is none.
        RecursionError: If it is too deep.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is there twice")
    return fields


class _Entry:
    """A JSON object that is read field by field."""

    def __init__(self, name: str, entry: object) -> None:
        if not isinstance(entry, dict):
            raise FaultError(f"{name} is {short(entry)} instead of a JSON object")
        self.name = name
        self.left: dict[str, Any] = dict(entry)

    def take(self, field: str, kind: type[T]) -> T:
        """The value of a field, which must be of this very type."""
        value = self.left.pop(field, None)
        if type(value) is not kind:
            raise FaultError(f"{self.name}: {field} is {short(value)} instead of {kind.__name__}")
        return value

    def take_integer(self, field: str, low: int, high: int) -> int:
        value = self.take(field, int)
        if not low <= value <= high:
            raise FaultError(f"{self.name}: {field} is {short(value)} instead of {low} to {high}")
        return value

    def take_choice(self, field: str, choices: tuple[str, ...]) -> Any:
        value = self.take(field, str)
        if value not in choices:
            raise FaultError(f"{self.name}: {field} is {short(value)}; known are {choices}")
        return value

    def take_entry(self, field: str) -> _Entry:
        return _Entry(f"{self.name}: {field}", self.left.pop(field, None))

    def take_list(self, field: str, most: int) -> list[Any]:
        value = self.left.pop(field, None)
        if not isinstance(value, list) or len(value) > most:
            raise FaultError(f"{self.name}: {field} is not a list of at most {most} items")
        return value

    def take_sizes(self, field: str, fewest: int, most: int, largest: int) -> list[int]:
        sizes = self.take_list(field, most)
        if len(sizes) < fewest or any(type(s) is not int or not 1 <= s <= largest for s in sizes):
            raise FaultError(f"{self.name}: {field} is {short(sizes)}, which are no sizes")
        return sizes

    def finish(self) -> None:
        """Raises if a field is left over."""
        if self.left:
            raise FaultError(f"{self.name} has the unknown fields {short(sorted(self.left))}")


def _node(entry: _Entry, left: dict[str, Tensor]) -> integer.Node:
    """One node; takes its tensors out of `left`."""
    kind_name, name = entry.take("type", str), entry.take("name", str)
    if not 1 <= len(name) <= _MOST_NAME or not name.isprintable():
        raise FaultError(f"{entry.name} has the name {short(name)}")
    entry.name = repr(name)
    kind = _KINDS.get(kind_name)
    if kind is None:
        raise FaultError(f"{entry.name} is of the unknown type {short(kind_name)}")
    sources = entry.take_list("inputs", most=3)
    if len(sources) != kind.inputs or any(type(source) is not str for source in sources):
        raise FaultError(
            f"{entry.name}: inputs is {short(sources)}; {kind_name} has {kind.inputs} inputs"
        )
    values: dict[str, Any] = {
        field: entry.take_integer(field, *limits) for field, limits in kind.integers.items()
    }
    tensors = _Tensors(name, entry.take_entry("tensors"), left)
    for field, (ndim, *limits) in kind.tensors.items():
        values[field] = tensors.take_integers(field, ndim, *limits)
    if kind.node is integer.Synapse:
        values["weight"] = tensors.take_weight(values["bits"])
    elif kind.node is integer.Neuron:
        leak = entry.take_entry("leak")
        kept = leak.take_choice("kind", _LEAKS)
        values["leak"] = integer.Leak(kept, leak.take_integer("shift", *_LEFT_SHIFT))
        leak.finish()
        values["reset"] = entry.take_choice("reset", _RESETS)
        values["per_pixel"] = entry.take("per_pixel", bool)
        values["rounding"] = tensors.take_rounding()
    elif kind.node is integer.SpikeSum:
        values["over"] = entry.take_choice("over", get_args(SummedAxis))
    elif kind.node is integer.CurrentProduct:
        values["over"] = entry.take_choice("over", get_args(WeightedAxis))
    elif kind.node is integer.Output:
        values["scale"] = entry.take("scale", float)
    if (flag := _FLAGS.get(kind_name)) in entry.left:
        values[flag] = entry.take(flag, bool)
    tensors.shapes.finish()
    entry.finish()
    return kind.node(name, tuple(sources), **values)


class _Tensors:
    """The tensors of one node."""

    def __init__(self, node: str, shapes: _Entry, left: dict[str, Tensor]) -> None:
        self.node = node
        self.shapes = shapes
        self.left = left

    def take_integers(self, field: str, ndim: int, low: int, high: int) -> Tensor:
        """Integers, int64."""
        tensor = self._take(field, self._shape(field, ndim), _INTEGERS).long()
        if int(tensor.min()) < low or int(tensor.max()) > high:
            raise FaultError(f"{self.node!r}: {field} has values outside of {low} to {high}")
        return tensor

    def take_weight(self, bits: int) -> Tensor:
        """A kernel or matrix, int8."""
        shape = self._shape("weight", 2, 4)
        if len(shape) == 3 or shape[2:3] != shape[3:]:
            raise FaultError(f"{self.node!r}: a weight {shape} is no matrix and no square kernel")
        if math.prod(shape) > _MOST_WEIGHTS or math.prod(shape[1:]) > _MOST_WEIGHTS_PER_OUTPUT:
            raise FaultError(f"{self.node!r}: a weight {shape} is larger than in any network")
        count = math.prod(shape)
        packed = self._take("weight", [packed_length(count, bits)], (torch.uint8,))
        return unpack(packed, bits, count).view(shape)

    def take_rounding(self) -> integer.Rounding | None:
        """The rounding form, if there is one."""
        if not self.shapes.left:
            return None
        gain, offset = (
            self._take(field, self._shape(field, 1), (torch.float32,))
            for field in ("rounding.gain", "rounding.offset")
        )
        return integer.Rounding(gain, offset)

    def _shape(self, field: str, fewest: int, most: int | None = None) -> list[int]:
        return self.shapes.take_sizes(field, fewest, most or fewest, _CHANNELS[1])

    def _take(self, field: str, shape: list[int], dtypes: tuple[torch.dtype, ...]) -> Tensor:
        tensor = self.left.pop(f"{self.node}.{field}", None)
        if tensor is None:
            raise FaultError(f"{self.node!r}: the tensor {field} is missing")
        if list(tensor.shape) != shape or tensor.dtype not in dtypes:
            found = f"{list(tensor.shape)} of {tensor.dtype}"
            raise FaultError(
                f"{self.node!r}: {field} is {found} instead of {shape} of {dtypes[-1]}"
            )
        return tensor


def short(value: object) -> str:
    """A representation of few characters, however long or deep the value is."""
    return _SHORT.repr(value)


def refuse_version(version: object, known: int) -> None:
    """Raises FaultError: a version that is not the known one is newer, or damage."""
    digits = short(version).strip("'")
    if digits.isascii() and digits.isdigit() and int(digits) > known:
        raise FaultError(
            f"it was written by a newer version of spikesight (format {digits})",
            "upgrade spikesight",
        )
    raise FaultError(f"its version is {short(version)}, which there never was", DAMAGED)
