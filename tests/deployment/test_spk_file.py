"""A .spk file gives its network back, and no damaged or hostile one gives anything but an error."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

import spikesight as ss
from spikesight.deployment.integer_execution import IntegerExecutor
from spikesight.deployment.spike_execution import SpikeExecutor
from spikesight.deployment.spk_file import SpkError, read_spk, write_spk
from spikesight.graph.integer_vocabulary import (
    IntegerAdd,
    IntegerGraph,
    IntegerMaxPool,
    IntegerNeuron,
    IntegerNode,
    IntegerSynapse,
    Leak,
)
from spikesight.passes.calibration import Calibration
from spikesight.passes.integerisation import IntegerSettings, integerise
from spikesight.synapses.bit_packing import packed_length
from tests.conftest import wake

SMALL = {"widths": (4, 8, 8, 12, 16), "depths": (0, 0, 1, 1, 0), "heads": 1}
LEAST = SMALL | {"depths": (0, 0, 0, 1, 0)}
STEPS_1: dict[str, Any] = {"neuron": "i_lif", "levels": 4}
STEPS_4: dict[str, Any] = {"neuron": "lif", "steps": 4}


def network(bits: int = 8, size: int = 16, **options: Any) -> IntegerGraph:
    torch.manual_seed(0)
    model = ss.create_model("metaspikformer_nano", num_classes=5, **options)
    x = torch.rand(2, 3, size, size) * 3
    graph = ss.trace(wake(model, x).double(), x.double())
    return integerise(graph, IntegerSettings((size, size), bits), Calibration(3.0))


@cache
def least(steps: int) -> IntegerGraph:
    return network(**LEAST, **(STEPS_1 if steps == 1 else STEPS_4))


@cache
def least_file(steps: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "least.spk"
        write_spk(least(steps), path)
        return path.read_bytes()


def difference(first: Any, second: Any, place: str = "graph") -> str | None:
    """The first place in which two graphs differ, tensors to the dtype."""
    if type(first) is not type(second):
        return f"{place}: {type(first)} and {type(second)}"
    if isinstance(first, Tensor):
        same = first.dtype == second.dtype and torch.equal(first, second)
        return None if same else f"{place}: {first} and {second}"
    if isinstance(first, tuple):
        if len(first) != len(second):
            return f"{place}: {len(first)} and {len(second)} items"
        parts = [(str(i), a, b) for i, (a, b) in enumerate(zip(first, second, strict=True))]
    elif is_dataclass(first):
        parts = [(f.name, getattr(first, f.name), getattr(second, f.name)) for f in fields(first)]
    else:
        return None if first == second else f"{place}: {first!r} and {second!r}"
    return next((d for name, a, b in parts if (d := difference(a, b, f"{place}.{name}"))), None)


# Round trips.


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    "options",
    [
        {"neuron": "lif", "steps": 4},
        {"neuron": "i_lif"},
        {"neuron": "ni_lif", "steps": 2, "levels": 3},
        {"neuron": "i_lif", "separable": "official"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_network_comes_back(options: dict[str, Any], bits: int, tmp_path: Path) -> None:
    graph = network(bits, **SMALL | {"depths": (1, 0, 1, 1, 0)} | options)
    path = tmp_path / "net.spk"
    write_spk(graph, path)
    back = read_spk(path)
    assert difference(graph, back) is None
    x = torch.rand(2, 3, 16, 16) * 3
    assert torch.equal(IntegerExecutor(graph)(x), IntegerExecutor(back)(x))


def spikformer() -> IntegerGraph:
    torch.manual_seed(0)
    model = ss.create_model(
        "spikformer_nano", num_classes=5, width=16, neuron="lif", steps=2, in_channels=2
    )
    x = torch.randn(2, 2, 16, 16) * 2
    return ss.deploy(wake(model, x), x).graph


def test_maxima_and_sums_of_spikes_come_back(tmp_path: Path) -> None:
    graph = spikformer()
    write_spk(graph, tmp_path / "net.spk")
    back = read_spk(tmp_path / "net.spk")
    assert difference(graph, back) is None
    x = torch.randn(2, 2, 16, 16) * 2
    assert torch.equal(SpikeExecutor(back)(x), IntegerExecutor(graph)(x))


def test_maxima_that_are_none_are_refused(tmp_path: Path) -> None:
    graph = spikformer()
    nodes = graph.nodes
    pool = next(node for node in nodes if isinstance(node, IntegerMaxPool))
    total = next(n for n in nodes if isinstance(n, IntegerAdd))
    position = nodes.index(total) + 1
    of_sum = IntegerMaxPool("of_sum", (total.name,), 3, 1, 1)

    def with_nodes(*changed: IntegerNode) -> IntegerGraph:
        return replace(graph, nodes=changed)

    wide = tuple(replace(n, padding=2) if n is pool else n for n in nodes)
    vector = (*nodes[:-1], IntegerMaxPool("late", nodes[-1].inputs, 1, 1, 0), nodes[-1])
    doubled: list[IntegerNode] = [*nodes[:position]]
    for index in range(20):
        last = doubled[-1].name
        doubled.append(IntegerAdd(f"twice{index}", (last, last)))
    for broken, message in (
        (with_nodes(*wide), "padding exceeds half"),
        (with_nodes(*nodes[:position], of_sum, *nodes[position:]), "maximum of sums"),
        (with_nodes(*vector), "reads no map"),
        (with_nodes(*doubled, *nodes[position:]), "more spikes per time step"),
    ):
        with pytest.raises(SpkError, match=message):
            write_spk(broken, tmp_path / "net.spk")


def test_unusual_fields_come_back(tmp_path: Path) -> None:
    graph = least(4)
    leaks = [Leak("none"), Leak("all"), Leak("share", 3), Leak("rest", 15)]
    nodes = [
        replace(node, leak=leaks[i % 4], reset=("soft", "hard")[i % 2])
        if isinstance(node, IntegerNeuron)
        else node
        for i, node in enumerate(graph.nodes)
    ]
    unusual = replace(graph, nodes=tuple(nodes), max_size=(12, 16))
    write_spk(unusual, tmp_path / "net.spk")
    assert difference(unusual, read_spk(tmp_path / "net.spk")) is None


def test_a_channel_without_weights_comes_back(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=5, **LEAST, **STEPS_1)
    x = torch.rand(2, 3, 16, 16) * 3
    wake(model, x)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight[0] = 0
    graph = integerise(
        ss.trace(model.double(), x.double()), IntegerSettings((16, 16)), Calibration(3.0)
    )
    assert max(int(neuron.thresholds.abs().max()) for neuron in graph.neurons) < 2**31
    write_spk(graph, tmp_path / "net.spk")
    assert difference(graph, read_spk(tmp_path / "net.spk")) is None


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    path.write_bytes(b"an older file")
    write_spk(least(1), path)
    assert path.read_bytes() == least_file(1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_as_small_as_its_bits(tmp_path: Path) -> None:
    sizes, weights = {}, {}
    for bits in (2, 3, 4, 8):
        graph = network(bits)
        path = tmp_path / f"{bits}.spk"
        write_spk(graph, path)
        sizes[bits] = path.stat().st_size
        with safe_open(path, framework="pt") as file:
            assert file.metadata()["format"] == "spikesight.spk"
            for node in graph.nodes:
                if isinstance(node, IntegerSynapse):
                    packed = file.get_tensor(f"{node.name}.weight")
                    assert packed.dtype == torch.uint8
                    assert packed.shape == (packed_length(node.weight.numel(), bits),)
                    weights[bits] = weights.get(bits, 0) + packed.numel()
    assert weights[8] > 500_000
    # Thresholds and names take the same room whatever the bits of a weight.
    others = {sizes[bits] - weights[bits] for bits in sizes}
    assert max(others) - min(others) < 0.05 * sizes[8]
    assert 0.5 < sizes[4] / sizes[8] < 0.58
    assert weights[4] / weights[8] == pytest.approx(1 / 2, rel=1e-3)
    assert weights[3] / weights[8] == pytest.approx(3 / 8, rel=1e-3)
    assert weights[2] / weights[8] == pytest.approx(1 / 4, rel=1e-3)


# Writing.


def change(graph: IntegerGraph, kind: type, **values: Any) -> IntegerGraph:
    """The graph with other values in its last node of a type."""
    last = next(node for node in reversed(graph.nodes) if isinstance(node, kind))
    new: Any = replace(last, **values)
    return replace(graph, nodes=tuple(new if node is last else node for node in graph.nodes))


def test_a_network_that_is_none_is_not_written(tmp_path: Path) -> None:
    graph = least(1)
    path = tmp_path / "net.spk"
    path.write_bytes(b"an older file")
    for bad, message in [
        (change(graph, IntegerSynapse, bits=2), "values from .* do not fit into 2 bits"),
        (change(graph, IntegerSynapse, stride=0), "stride is 0 instead of 1 to 255"),
        (change(graph, IntegerNeuron, steps=torch.tensor(1)), "steps is None"),
        (change(graph, IntegerNeuron, steps=np.int64(1)), "no form in JSON"),
        (change(graph, IntegerNeuron, rounding=None, levels=9), "4 thresholds for 9 levels"),
        (replace(graph, nodes=graph.nodes[1:]), "before it exists"),
        (replace(graph, version=2), "newer version"),
    ]:
        with pytest.raises(SpkError, match=rf"net\.spk was not written: .*{message}.*; "):
            write_spk(bad, path)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_disk_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError("no space left")

    path = tmp_path / "net.spk"
    path.write_bytes(b"an older file")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_spk(least(1), path)
    assert path.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [path]


# Files that are none.


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.spk is missing; pass the path"):
        read_spk(tmp_path / "none.spk")


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(SpkError, match="not a file"):
        read_spk(tmp_path)
    other = save({"weight": torch.zeros(3)}, {"format": "pt"})
    zip_header = b"PK\x03\x04" + bytes(100)
    deep = b'{"__metadata__":' + b"[" * 100_000
    for data, message in [
        (b"", "it is empty; copy it again"),
        (b"\x01", "header is cut off"),
        (zip_header, "header is cut off, damaged or not that of a .spk file"),
        (bytes(64), "header is damaged or not that of a .spk file"),
        (other, "not a .spk file"),
        (len(deep).to_bytes(8, "little") + deep, "header is damaged"),
        (b"\x02" + bytes(7) + b"[]", "not a .spk file"),
    ]:
        path = tmp_path / "other.spk"
        path.write_bytes(data)
        with pytest.raises(SpkError, match=rf"other\.spk cannot be read: .*{message}.*"):
            read_spk(path)


# Hostile files: the checksum is right, the content is not.


@dataclass
class Parts:
    """A file taken apart: its JSON, its tensors and the rest of its metadata."""

    description: Any
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]

    def node(self, kind: str, index: int = -1) -> dict[str, Any]:
        return [node for node in self.description["nodes"] if node["type"] == kind][index]

    def tensor(self, kind: str, field: str, index: int = -1) -> np.ndarray:
        return self.tensors[f"{self.node(kind, index)['name']}.{field}"]

    def replace(self, kind: str, field: str, array: np.ndarray, index: int = -1) -> None:
        node = self.node(kind, index)
        self.tensors[f"{node['name']}.{field}"] = array
        if node["tensors"].get(field) and field != "weight":
            node["tensors"][field] = list(array.shape)


NUMPY = {"U8": "<u1", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F32": "<f4"}
SAFETENSORS = {np.dtype(numpy): name for name, numpy in NUMPY.items()} | {np.dtype("f8"): "F64"}


def take_apart(data: bytes) -> Parts:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[start:end], NUMPY[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"]).copy()
    return Parts(json.loads(metadata["graph"]), tensors, metadata)


def put_together(parts: Parts) -> bytes:
    return seal(*encode(parts))


def encode(parts: Parts, **json_options: Any) -> tuple[dict[str, Any], bytes]:
    graph = json.dumps(parts.description, **json_options)
    header: dict[str, Any] = {"__metadata__": parts.metadata | {"graph": graph}}
    payload = b""
    for name, array in parts.tensors.items():
        start, payload = len(payload), payload + array.tobytes()
        offsets = [start, len(payload)]
        shape = list(array.shape)
        entry = {"dtype": SAFETENSORS[array.dtype], "shape": shape, "data_offsets": offsets}
        header[name] = entry
    return header, payload


def seal(header: dict[str, Any], payload: bytes) -> bytes:
    """The file with the right checksum."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and "sha256" in metadata:
        header = header | {"__metadata__": metadata | {"sha256": "0" * 64}}
    text = json.dumps(header, separators=(",", ":")).encode()
    data = len(text).to_bytes(8, "little") + text + payload
    checksum = hashlib.sha256(data).hexdigest().encode()
    return data.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + checksum, 1)


def test_the_tests_seal_files_as_the_library_does(tmp_path: Path) -> None:
    """Otherwise hostile files would be refused for their checksum alone."""
    path = tmp_path / "net.spk"
    for steps in (1, 4):
        path.write_bytes(put_together(take_apart(least_file(steps))))
        assert difference(least(steps), read_spk(path)) is None


def test_edits_without_meaning_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    parts = take_apart(least_file(1))
    header, payload = encode(parts, indent=2, sort_keys=True)
    path.write_bytes(seal(dict(reversed(header.items())), payload))
    assert difference(least(1), read_spk(path)) is None
    for name, array in parts.tensors.items():
        if array.dtype.kind == "i":
            parts.tensors[name] = array.astype("<i8")
    path.write_bytes(put_together(parts))
    assert difference(least(1), read_spk(path)) is None


def test_a_file_cannot_make_reading_expensive(tmp_path: Path) -> None:
    """What has no bytes behind it in the file is bounded."""
    parts = take_apart(least_file(1))
    parts.tensors.clear()
    first, last = parts.node("Input"), parts.node("Output")
    adds = [
        {"type": "Add", "name": str(i), "inputs": [first["name"]] * 2, "tensors": {}}
        for i in range(4000)
    ]
    parts.description["nodes"] = [first | {"channels": 2**16}, *adds, last | {"inputs": ["0"]}]
    path = tmp_path / "hostile.spk"
    path.write_bytes(put_together(parts))
    with pytest.raises(SpkError, match="more channels than any network"):
        read_spk(path)
    header, payload = encode(take_apart(least_file(1)))
    header["__metadata__"]["graph"] = "[" * 10**6
    path.write_bytes(seal(header, payload))
    with pytest.raises(SpkError, match="instead of a JSON object"):
        read_spk(path)
    path.write_bytes(b"")
    os.truncate(path, 2**30 + 1)
    with pytest.raises(SpkError, match="larger than 1073741824 bytes"):
        read_spk(path)


def test_a_newer_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    for edit in (
        lambda parts: parts.metadata.update(version="2"),
        lambda parts: parts.metadata.update(version="12", graph="?", sha256="another rule"),
        lambda parts: parts.description.update(vocabulary=2),
    ):
        parts = take_apart(least_file(1))
        edit(parts)
        path.write_bytes(put_together(parts))
        with pytest.raises(SpkError, match=r"written by a newer version .*; upgrade spikesight"):
            read_spk(path)


Edit = Callable[[Parts], object]


def _set(kind: str, index: int = -1, **values: Any) -> Edit:
    return lambda parts: parts.node(kind, index).update(values)


def _fill(kind: str, field: str, value: int, dtype: str = "<i8", index: int = -1) -> Edit:
    def edit(parts: Parts) -> None:
        array = parts.tensor(kind, field, index)
        parts.replace(kind, field, np.full_like(array, value, dtype=dtype), index)

    return edit


def _reshape(kind: str, field: str, *shape: int) -> Edit:
    def edit(parts: Parts) -> None:
        old = parts.tensor(kind, field)
        parts.replace(kind, field, np.resize(old, shape))

    return edit


def _swap_ends(parts: Parts) -> None:
    nodes = parts.description["nodes"]
    nodes.insert(1, nodes.pop(0))


def _empty(parts: Parts) -> None:
    parts.tensors.clear()
    parts.description.update(nodes=[])


def _second_input(parts: Parts) -> dict[str, Any]:
    return parts.node("Input") | {"name": "another"}


def _scale_gain(factor: float) -> Edit:
    def edit(parts: Parts) -> None:
        parts.tensor("Neuron", "rounding.gain", 0)[:] *= factor

    return edit


def _drop_offset(parts: Parts) -> None:
    node = parts.node("Neuron", 0)
    del node["tensors"]["rounding.offset"], parts.tensors[f"{node['name']}.rounding.offset"]


def _add_rounding(parts: Parts) -> None:
    node = parts.node("Neuron", 0)
    for field in ("rounding.gain", "rounding.offset"):
        parts.tensors[f"{node['name']}.{field}"] = np.ones(1, "<f4")
        node["tensors"][field] = [1]


def _weight_shape(*shape: int) -> Edit:
    return lambda parts: parts.node("Synapse", 0)["tensors"].update(weight=list(shape))


HOSTILE: list[tuple[int, Edit, str]] = [
    (1, lambda p: p.metadata.update(version="0"), "its version is '0', which there never was"),
    (1, lambda p: p.metadata.update(author="me"), "its metadata are"),
    (1, lambda p: p.metadata.pop("sha256"), "no checksum"),
    (1, lambda p: p.description.update(vocabulary=-1), "its version is -1"),
    (1, lambda p: p.description.update(vocabulary=True), "vocabulary is True instead of int"),
    (1, lambda p: p.description.update(max_size=[16]), r"max_size is \[16\], which are no sizes"),
    (1, lambda p: p.description.update(max_size=[0, 16]), "which are no sizes"),
    (1, lambda p: p.description.update(max_size=[65537, 16]), "which are no sizes"),
    (1, lambda p: p.description.update(max_size=[65536, 65536]), "gives a map of"),
    (1, lambda p: p.description.update(max_size=[4096, 4096]), "more than 32"),
    (1, lambda p: p.description.update(nodes=[]), "belong to no node"),
    (1, _empty, "not exactly one IntegerInput, first"),
    (1, lambda p: p.description["nodes"].insert(1, _second_input(p)), "not exactly one IntegerI"),
    (1, lambda p: p.description.update(nodes=[{}] * 5000), "at most 4096 items"),
    (1, lambda p: p.description.update(code="import os"), r"unknown fields \['code'\]"),
    (1, lambda p: p.description["nodes"].append([]), "instead of a JSON object"),
    (1, lambda p: p.description["nodes"].append(p.node("Pool")), "two nodes are named"),
    (1, lambda p: p.description["nodes"].pop(), "exactly one IntegerOutput, last|belong to no"),
    (1, _swap_ends, "before it exists"),
    (1, _set("Pool", type="Eval"), "unknown type 'Eval'"),
    (1, _set("Pool", type=["Pool"]), "type is .* instead of str"),
    (1, _set("Pool", name=""), "has the name ''"),
    (1, _set("Pool", name="a\x1b[31m\n"), "has the name"),
    (1, _set("Pool", name="\ud800"), "has the name"),
    (1, _set("Pool", name="x" * 10**6), "has the name 'xxx"),
    (1, _set("Pool", inputs=[]), "inputs is .*; Pool has 1 inputs"),
    (1, _set("Add", inputs=["presentation"] * 3), "Add has 2 inputs"),
    (1, _set("Pool", inputs=[7]), "Pool has 1 inputs"),
    (1, _set("Pool", inputs=["nowhere"]), "reads .'nowhere'. before it exists"),
    (1, _set("Pool", exec="1"), "unknown fields"),
    (1, _set("Pool", tensors={"bias": [3]}), "unknown fields"),
    (1, lambda p: p.tensors.update(more=np.zeros(3, "<f4")), "'more'. belong to no node"),
    (1, lambda p: p.tensors.update(more=np.zeros(3, "f8")), "'more' has no dtype"),
    (1, _set("Input", steps=0), "steps is 0 instead of 1 to 65536"),
    (1, _set("Input", steps=1.0), "steps is 1.0 instead of int"),
    (1, _set("Input", steps=2), "steps are not those of the input"),
    (1, _set("Input", channels=10**9), "channels is .* instead of 1 to 65536"),
    (1, _set("Input", channels=6), "weight has 3 inputs of 6"),
    (1, _set("Input", shift=64), "shift is 64"),
    (1, _set("Input", low=9, high=8), "low is above high"),
    (1, _set("Input", low=-(2**24), high=2**24), "ranges cannot be proved: .* bits"),
    (1, _set("Synapse", bits=9), "bits is 9 instead of 2 to 8"),
    (1, _set("Synapse", bits=4), "weight is .* of torch.uint8 instead of"),
    (1, _set("Synapse", stride=2), "a matrix has stride 1"),
    (1, _set("Synapse", 0, stride=0), "stride is 0"),
    (1, _set("Synapse", 0, padding=-1), "padding is -1"),
    (1, _set("Synapse", 0, groups=2), "groups do not divide its inputs"),
    (1, _set("Synapse", 1, groups=4), "weight has 4 inputs of 1"),
    (1, _set("Synapse", 1, stride=255, padding=0, groups=2**16), "groups do not divide"),
    (1, _weight_shape(4, 3, 3, 4), "no square kernel"),
    (1, _weight_shape(4, 3, 9), "no matrix"),
    (1, _weight_shape(4, 27), "a map needs a kernel|weight has 27 inputs of 3"),
    (1, _weight_shape(2**16, 2**16, 255, 255), "larger than in any network"),
    (1, _weight_shape(4, 3, 2**40, 2**40), "which are no sizes"),
    (1, _weight_shape(0, 3, 3, 3), "which are no sizes"),
    (1, _weight_shape(3, 4, 3, 3), "weight has 4 inputs of 3"),
    (1, _fill("Synapse", "shift", 32), "shift has values outside of -31 to 31"),
    (1, _fill("Synapse", "shift", 31, "<i1"), "ranges cannot be proved"),
    (1, _fill("Synapse", "bias", 2**31), "bias has values outside"),
    (1, _fill("Synapse", "bias", -(2**63)), "bias has values outside"),
    (1, _fill("Synapse", "bias", 2**31 - 1), "ranges cannot be proved"),
    (1, _fill("Synapse", "bias", 1, "<f4"), "bias is .* of torch.float32"),
    (1, _reshape("Synapse", "bias", 1), "bias is not one per channel"),
    (1, _reshape("Synapse", "shift", 4), "shift is not one per channel"),
    (1, _reshape("Synapse", "bias", 5, 1), "which are no sizes|not a list of at most 1"),
    (1, _set("Neuron", levels=256), "levels is 256 instead of 1 to 255"),
    (1, _set("Neuron", levels=3), "4 thresholds for 3 levels"),
    (1, _set("Neuron", shift=-1), "shift is -1"),
    (1, _set("Neuron", shift=1), "over one step its shift and bias are zero"),
    (1, _fill("Neuron", "bias", 1), "over one step its shift and bias are zero"),
    (1, _fill("Neuron", "step", -1), "step has values outside"),
    (1, _fill("Neuron", "thresholds", 2**53 + 1, index=0), "thresholds has values outside"),
    (1, _fill("Neuron", "thresholds", 3, index=0), "rounding and thresholds differ"),
    (1, _reshape("Neuron", "thresholds", 3, 4), "thresholds are for 3 channels"),
    (1, lambda p: p.tensor("Neuron", "thresholds")[0, ::-1].sort(), "thresholds do not ascend"),
    (1, _scale_gain(1 + 2**-20), "float32 does not compute its rounding without error"),
    (1, _scale_gain(2.0), "rounding and thresholds differ"),
    (1, _scale_gain(-1.0), "gain that is not positive"),
    (1, _scale_gain(float("nan")), "a value not finite"),
    (1, _scale_gain(float("inf")), "a value not finite"),
    (1, _drop_offset, "rounding.offset is not a list"),
    (4, _add_rounding, "a rounding form cannot serve it"),
    (1, _set("Neuron", leak={"kind": "slow", "shift": 1}), "kind is 'slow'; known are"),
    (1, _set("Neuron", leak={"kind": "rest", "shift": 32}), "shift is 32"),
    (1, _set("Neuron", leak={"kind": "rest"}), "shift is None"),
    (1, _set("Neuron", leak=None), "leak is None"),
    (1, _set("Neuron", reset="none"), "reset is 'none'"),
    (1, _set("Neuron", per_pixel=1), "per_pixel is 1 instead of bool"),
    (1, _set("Neuron", 0, per_pixel=True), "per_pixel is not whether it reads a pool"),
    (1, _set("Attention", heads=0), "heads is 0"),
    (1, _set("Attention", heads=5), "heads do not divide the channels"),
    (1, _set("Attention", inputs=["presentation"] * 3), "something else than neurons"),
    (1, _set("Output", scale=float("nan")), "scale is nan"),
    (1, _set("Output", scale=float("inf")), "scale is inf"),
    (1, _set("Output", scale=-1.0), "scale is -1.0"),
    (1, _set("Output", scale=1), "scale is 1 instead of float"),
    (4, _set("Output", steps=1), "steps are not those of the input"),
    (4, _set("Neuron", steps=3), "steps are not those of the input"),
    (4, _set("Neuron", shift=31), "ranges cannot be proved"),
    (4, _fill("Neuron", "step", 2**31 - 1), "ranges cannot be proved"),
    (4, _fill("Neuron", "bias", -(2**31) + 1), "ranges cannot be proved"),
]


@pytest.mark.parametrize(
    ("steps", "edit", "message"), HOSTILE, ids=[message for _, _, message in HOSTILE]
)
def test_hostile_files_say_what_is_wrong(
    steps: int, edit: Edit, message: str, tmp_path: Path
) -> None:
    parts = take_apart(least_file(steps))
    edit(parts)
    path = tmp_path / "hostile.spk"
    path.write_bytes(put_together(parts))
    with pytest.raises(SpkError, match=message) as caught:
        read_spk(path)
    text = str(caught.value)
    assert text.startswith(f"{path} cannot be read: ")
    assert "; " in text
    assert len(text) < 1000
    assert text.isprintable()


# Fuzzing: 2,000 cases.


def read_or_refuse(path: Path, data: bytes) -> IntegerGraph | None:
    path.write_bytes(data)
    try:
        return read_spk(path)
    except SpkError as error:
        message = str(error)
    assert message.startswith(f"{path} cannot be read: ")
    return None


@pytest.mark.parametrize("damage", ["cut", "flip", "insert", "overwrite", "swap"])
def test_damaged_files_are_refused(damage: str, tmp_path: Path) -> None:
    """Without a new checksum no change goes unnoticed."""
    generator = random.Random(damage)
    header_size = int.from_bytes(least_file(1)[:8], "little") + 8
    for case in range(250):
        data = bytearray(least_file(1))
        # Headers and checksums deserve as many cases as the longer payload.
        at = generator.randrange(header_size if case % 2 else len(data))
        length = generator.choice([1, 1, 2, 8, 100])
        if damage == "cut":
            del data[at : at + (length if case % 3 else len(data))]
        elif damage == "flip":
            for place in {at, *(generator.randrange(len(data)) for _ in range(length - 1))}:
                data[place] ^= 1 << generator.randrange(8)
        elif damage == "insert":
            data[at:at] = generator.randbytes(length)
        elif damage == "overwrite":
            data[at : at + length] = bytes(value ^ 0xFF for value in data[at : at + length])
        else:
            data[at], data[-1 - at] = data[-1 - at], data[at]
        if data != least_file(1):
            assert read_or_refuse(tmp_path / "damaged.spk", bytes(data)) is None, case


VALUES: list[Any] = [
    *(-1, 0, 1, 2, 3, 4, 7, 16, 31, 255, 256, 65536, 2**31, 2**63, -(2**63), 10**30),
    *(0.5, -1.0, 1e300, float("inf"), float("nan"), True, False, None),
    *("", "presentation", "head", "Neuron", "share", "x" * 5000, "\ud800", "\0"),
    *([], {}, [1], [1] * 300, {"kind": "rest", "shift": 1}, [[[[[[[[]]]]]]]]),
]


def damage_description(description: Any, generator: random.Random) -> None:
    """Changes one place of a JSON value."""
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            places.append((value, key))
            if isinstance(item, dict | list):
                collect(item)

    collect(description)
    holder, key = generator.choice(places)
    change = generator.choice(["value", "value", "nudge", "nudge", "borrow", "delete", "more"])
    if change == "nudge" and type(holder[key]) in (int, float):
        holder[key] += generator.choice([-1, 1])
    elif change == "borrow":
        other, place = generator.choice(places)
        holder[key] = deepcopy(other[place])
    elif change == "delete":
        del holder[key]
    elif change == "more" and isinstance(holder, list):
        holder.append(deepcopy(holder[key]))
    elif change == "more":
        holder[str(generator.randrange(10))] = deepcopy(holder[key])
    else:
        holder[key] = deepcopy(generator.choice(VALUES))


def damage_tensor(parts: Parts, generator: random.Random) -> None:
    """Changes one tensor, and its shape in the JSON or not."""
    name = generator.choice(list(parts.tensors))
    array = parts.tensors[name]
    if not array.size:
        return
    flat = array.reshape(-1)
    place = generator.randrange(len(flat))
    change = generator.choice(["value", "value", "value", "nudge", "dtype", "shape", "bytes"])
    if change == "value":
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        special = [0, 1, limits.max, limits.min]
        flat[place] = generator.choice(special if array.dtype.kind in "iu" else [*special, np.nan])
    elif change == "nudge":
        flat[place] += np.array(1, array.dtype)
    elif change == "dtype":
        dtype = generator.choice(list(SAFETENSORS))
        parts.tensors[name] = np.nan_to_num(array).astype(dtype)
    elif change == "shape":
        shape = [generator.choice([0, 1, 2, size]) for size in array.shape]
        parts.tensors[name] = np.resize(array, shape)
    else:
        flat[:] = np.frombuffer(generator.randbytes(array.nbytes), array.dtype)


def damage_header(header: dict[str, Any], generator: random.Random) -> None:
    """Changes what safetensors itself reads."""
    name = generator.choice(list(header))
    change = generator.choice(["entry", "field", "number", "name"])
    if change == "entry":
        header[name] = generator.choice(VALUES)
    elif change == "name":
        header[generator.choice(["", "__metadata__", "more"])] = header.pop(name)
    elif change == "number" and name != "__metadata__":
        header[name] = deepcopy(header[name])
        numbers = header[name][generator.choice(["shape", "data_offsets"])]
        numbers[-1] = generator.choice(VALUES)
    else:
        field = generator.choice([*header[name], "more"])
        header[name] = header[name] | {field: generator.choice(VALUES)}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("target", ["description", "tensor", "header"])
def test_hostile_files_are_refused_or_sound(steps: int, target: str, tmp_path: Path) -> None:
    """With a new checksum validation alone decides; what it lets through must run exactly."""
    generator = random.Random(f"{target} {steps}")
    accepted = 0
    for _ in range(125):
        parts = take_apart(least_file(steps))
        for _ in range(generator.choice([1, 1, 1, 2, 3])):
            if target == "description":
                damage_description(parts.description, generator)
            elif target == "tensor":
                damage_tensor(parts, generator)
        header, payload = encode(parts)
        if target == "header":
            damage_header(header, generator)
        graph = read_or_refuse(tmp_path / "hostile.spk", seal(header, payload))
        accepted += graph is not None
        if graph is not None and accepted % 5 == 1:
            check_sound(graph, tmp_path / "again.spk")
    assert accepted < 100


def check_sound(graph: IntegerGraph, path: Path) -> None:
    """A network that was read can be written, and its two executors agree on it."""
    write_spk(graph, path)
    assert difference(graph, read_spk(path)) is None
    if max(graph.max_size) <= 32:
        x = torch.rand(1, graph.input.channels, *graph.max_size) * 3
        assert torch.equal(IntegerExecutor(graph)(x), SpikeExecutor(graph)(x))
