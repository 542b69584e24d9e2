"""2,000 damaged .spk files give nothing but an error, or a network that runs exactly."""

from __future__ import annotations

import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.deployment.spk.file import SpkError, read_spk, write_spk
from spikesight.graph import integer_vocabulary as integer
from tests.deployment.spk_files import (
    KINDS,
    SAFETENSORS,
    Kind,
    Parts,
    difference,
    encode,
    least_file,
    seal,
    take_apart,
)


def read_or_refuse(path: Path, data: bytes) -> integer.Graph | None:
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


@pytest.mark.parametrize("steps", KINDS)
@pytest.mark.parametrize("target", ["description", "tensor", "header"])
def test_hostile_files_are_refused_or_sound(steps: Kind, target: str, tmp_path: Path) -> None:
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


def check_sound(graph: integer.Graph, path: Path) -> None:
    """A network that was read can be written, and its two executors agree on it."""
    write_spk(graph, path)
    assert difference(graph, read_spk(path)) is None
    if max(graph.max_size) <= 32:
        x = torch.rand(1, graph.input.channels, *graph.max_size) * 3
        assert torch.equal(IntegerExecutor(graph)(x), SpikeExecutor(graph)(x))
