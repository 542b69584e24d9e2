"""Networks and their .spk files, whole and taken apart."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.spk.file import write_spk
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.calibration import Calibration
from spikesight.passes.integerisation import IntegerSettings, integerise
from tests.conftest import wake
from tests.deployment.gated_networks import GatedNetwork

SMALL = {"widths": (4, 8, 8, 12, 16), "depths": (0, 0, 1, 1, 0), "heads": 1}
LEAST = SMALL | {"depths": (0, 0, 0, 1, 0)}
CURRENTS: dict[str, Any] = {
    "widths": (4, 8),
    "heads": (1, 2),
    "depths": (1, 1),
    "patches": (2, 1),
    "group_size": 4,
    "mlp_ratio": 1,
    "neuron": "i_lif",
    "levels": 2,
}
STEPS_1: dict[str, Any] = {"neuron": "i_lif", "levels": 4}
STEPS_4: dict[str, Any] = {"neuron": "lif", "steps": 4}
Kind = Literal[1, 4, "gates", "currents"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def network(bits: int = 8, size: int = 16, **options: Any) -> integer.Graph:
    torch.manual_seed(0)
    return _integers(ss.create_model("metaspikformer_nano", num_classes=5, **options), bits, size)


def _integers(model: ss.SpikingModel, bits: int, size: int) -> integer.Graph:
    x = torch.rand(2, 3, size, size) * 3
    graph = ss.trace(wake(model, x).double(), x.double())
    return integerise(graph, IntegerSettings((size, size), bits), Calibration(3.0))


@cache
def least(steps: Kind) -> integer.Graph:
    """A network of so many time steps, with gates, sums and maxima, or with keys of currents."""
    if steps == "gates":
        torch.manual_seed(0)
        return _integers(GatedNetwork("token", neuron="i_lif", levels=2, channels=4), 8, 16)
    if steps == "currents":
        torch.manual_seed(0)
        model = ss.create_model("spikingresformer_nano", num_classes=5, **CURRENTS)
        return _integers(model, 8, 8)
    return network(**LEAST, **(STEPS_1 if steps == 1 else STEPS_4))


@cache
def least_file(steps: Kind) -> bytes:
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
