"""Hostile .spk files: the checksum is right, the content is not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.deployment.spk.file import SpkError, read_spk
from spikesight.errors import UserError
from spikesight.training.runs.card import Card
from tests.deployment.spk_files import (
    KINDS,
    Kind,
    Parts,
    difference,
    encode,
    least,
    least_file,
    put_together,
    seal,
    take_apart,
)


def test_the_tests_seal_files_as_the_library_does(tmp_path: Path) -> None:
    """Otherwise hostile files would be refused for their checksum alone."""
    path = tmp_path / "net.spk"
    for steps in KINDS:
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
        lambda parts: parts.description.update(vocabulary=3),
    ):
        parts = take_apart(least_file(1))
        edit(parts)
        path.write_bytes(put_together(parts))
        with pytest.raises(SpkError, match=r"written by a newer version .*; upgrade spikesight"):
            read_spk(path)


@pytest.mark.parametrize("card", ["", "[", "[]", "{}", '{"task": 3}', "{" * 10**5, '{"data": NaN}'])
def test_a_hostile_card_is_named_where_it_is_used(card: str, tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    parts = take_apart(least_file(1))
    parts.metadata["card"] = card
    path.write_bytes(put_together(parts))
    read_spk(path)
    with pytest.raises(UserError, match=r"net\.spk"):
        Card.read(path)
    parts.metadata["card"] = 3
    path.write_bytes(put_together(parts))
    with pytest.raises(SpkError, match="its metadata are"):
        read_spk(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'{"__metadata__"', b'{"a":1,"a":1,"__metadata__"', "its header is damaged"),
        (b'{\\"vocabulary', b'{\\"a\\":1,\\"a\\":1,\\"vocabulary', "None instead of a JSON object"),
        (b'"dtype"', b'"more":1,"dtype"', "has the fields"),
        (
            b',"trunk',
            b',"a":{"dtype":"U8","shape":[0,%d],"data_offsets":[0,0]},"trunk' % 2**63,
            "no val",
        ),
    ],
)
def test_a_header_has_nothing_more(old: bytes, new: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    header, payload = encode(take_apart(least_file(1)))
    header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header, separators=(",", ":")).encode().replace(old, new, 1)
    data = len(text).to_bytes(8, "little") + text + payload
    checksum = hashlib.sha256(data).hexdigest().encode()
    path.write_bytes(data.replace(b"0" * 64, checksum, 1))
    with pytest.raises(SpkError, match=message):
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


def _set_vocabulary(version: int) -> Edit:
    return lambda parts: parts.description.update(vocabulary=version)


def _pool_a_product(parts: Parts) -> None:
    """A maximum of a product of two counts of two levels each."""
    parts.node("Gate")["inputs"] = ["attention.key_neuron", "attention.query_neuron"]
    _insert_after_gate(parts, {"type": "MaxPool", "kernel": 3, "stride": 1, "padding": 1}, 1)


def _product_of_two_currents(parts: Parts) -> None:
    product = parts.node("CurrentProduct", -2)
    product["inputs"] = [product["inputs"][0]] * 2


def _gate_again(times: int) -> Edit:
    """Gates a gate's output by the same counts, again and again."""

    def edit(parts: Parts) -> None:
        for _ in range(times):
            _insert_after_gate(parts, {"type": "Gate"}, 2)

    return edit


def _insert_after_gate(parts: Parts, node: dict[str, Any], inputs: int) -> None:
    nodes = parts.description["nodes"]
    gate = parts.node("Gate")
    (reader,) = (n for n in nodes if gate["name"] in n["inputs"])
    name = f"more{len(nodes)}"
    read = [gate["name"], "attention.key_neuron"][:inputs]
    nodes.insert(nodes.index(gate) + 1, node | {"name": name, "inputs": read, "tensors": {}})
    reader["inputs"] = [name]


HOSTILE: list[tuple[Kind, Edit, str]] = [
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
    (1, lambda p: p.description["nodes"].pop(), "no IntegerOutput, last|belong to no"),
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
    (1, _set("Output", of_queries=True), "it reads no queries"),
    (4, _set("Output", steps=1), "steps are not those of the input"),
    (4, _set("Neuron", steps=3), "steps are not those of the input"),
    (4, _set("Neuron", shift=31), "ranges cannot be proved"),
    (4, _fill("Neuron", "step", 2**31 - 1), "ranges cannot be proved"),
    (4, _fill("Neuron", "bias", -(2**31) + 1), "ranges cannot be proved"),
    (1, _set_vocabulary(2), "nodes are of vocabulary 1 and it says 2"),
    ("gates", _set_vocabulary(1), "nodes are of vocabulary 2 and it says 1"),
    ("gates", _set("Gate", inputs=["attention.key_neuron", "attention.key"]), "key' is no neuron"),
    ("gates", _set("Gate", inputs=["attention.mask_neuron", "attention.key_neuron"]), "its inputs"),
    ("gates", _set("Gate", inputs=["attention.key_neuron", "stem_neuron"]), "its inputs are"),
    ("gates", _set("SpikeSum", inputs=["attention.query"]), "'attention.query' is no neuron"),
    ("gates", _set("SpikeSum", over="pixels"), "over is 'pixels'; known are"),
    ("gates", _set("SpikeSum", over="tokens"), "it has heads, over which it does not sum"),
    ("gates", _set("SpikeSum", heads=3), "heads do not divide the channels"),
    ("gates", _pool_a_product, "no spikes are the maximum of sums of counts or products"),
    ("gates", _gate_again(40), "ranges cannot be proved"),
    ("currents", _set_vocabulary(1), "nodes are of vocabulary 2 and it says 1"),
    ("currents", _set("CurrentProduct", keys=3), "it has 16 keys where thresholds are for 3"),
    ("currents", _set("CurrentProduct", keys=0), "keys is 0 instead of 1 to 65536"),
    ("currents", _set("CurrentProduct", over="tokens"), "over is 'tokens'; known are"),
    ("currents", _set("CurrentProduct", over="channels"), "its inputs are"),
    ("currents", _set("CurrentProduct", heads=3), "heads do not divide the channels"),
    ("currents", _product_of_two_currents, "is no neuron and no count of spikes"),
    ("currents", _fill("Synapse", "shift", 31, index=-8), "ranges cannot be proved"),
]


@pytest.mark.parametrize(
    ("steps", "edit", "message"), HOSTILE, ids=[message for _, _, message in HOSTILE]
)
def test_hostile_files_say_what_is_wrong(
    steps: Kind, edit: Edit, message: str, tmp_path: Path
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
