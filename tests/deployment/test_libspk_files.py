"""libspk reads the .spk files that Python reads, refuses those that it refuses, proves as much."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.deployment.spk.file import SpkError, read_spk, write_spk
from spikesight.graph import integer_vocabulary as integer
from spikesight.graph.operations import ShapeError
from spikesight.passes.ranges import accumulator, potential_of, prove_ranges
from tests.deployment.libspk_programs import program
from tests.deployment.random_graphs import random_graph
from tests.deployment.small_networks import deployed
from tests.deployment.spk_files import (
    KINDS,
    encode,
    least_file,
    put_together,
    seal,
    take_apart,
)
from tests.deployment.test_fuzzed_spk_files import (
    damage_description,
    damage_header,
    damage_tensor,
)
from tests.deployment.test_hostile_spk_files import HOSTILE

READ, NO_FILE, DAMAGED, NO_NETWORK, NEWER = range(5)
REMEDIES = {"copy it again": DAMAGED, "upgrade": NEWER, "do not use it": NO_NETWORK}
LARGEST = 2**63 - 1


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """What libspk says of files, all by one process."""
    answer = subprocess.run(
        [program("spk-print-ranges")],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(answers) == len(paths)
    return answers


def check_equal(path: Path, answer: dict[str, Any]) -> None:
    """Compares what libspk proved of every node with what Python proves."""
    graph = read_spk(path)
    reaches = prove_ranges(graph)
    assert answer["status"] == READ, (path, answer)
    for node, found in zip(graph.nodes, answer["nodes"], strict=True):
        reach = reaches[node.name]
        expected: dict[str, Any] = {
            "low": reach.interval.low.tolist(),
            "high": reach.interval.high.tolist(),
            "magnitude": reach.interval.magnitude,
            "pixels": reach.pixels,
            "shape": [reach.shape.channels, *reach.shape.size],
            "fixed": reach.shape.fixed,
        }
        if isinstance(node, integer.Synapse):
            total = accumulator(node, reaches[node.inputs[0]].interval)
            weight = node.weight.numpy().tobytes()
            expected |= {"sum": total.magnitude, "weight": hashlib.sha256(weight).hexdigest()}
        elif isinstance(node, integer.Neuron):
            expected["potential"] = min(potential_of(node, reaches), LARGEST)
        assert found == expected, (path, node.name)


FAMILIES: list[dict[str, Any]] = [
    {"name": "metaspikformer_nano", "neuron": "lif", "steps": 4},
    {"name": "mask_rcnn_nano", "neuron": "i_lif", "steps": 2, "levels": 2},
    {"name": "semantic_fpn_nano", "neuron": "i_lif", "levels": 8},
    {"name": "spike2former_nano", "neuron": "i_lif", "steps": 2, "levels": 2},
    {"name": "spike_det_nano", "neuron": "i_lif", "levels": 4},
    {"name": "spikformer_nano", "neuron": "lif", "steps": 2},
    {"name": "spikformer_v2_nano", "neuron": "i_lif", "levels": 4},
]


@pytest.mark.parametrize("options", FAMILIES, ids=[str(each["name"]) for each in FAMILIES])
def test_ranges_of_all_families_are_pythons(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "net.spk"
    write_spk(deployed(32, **options), path)
    check_equal(path, *read([path]))


def storable(node: integer.Node) -> integer.Node:
    """The node with as many rows of its rounding as of thresholds."""
    if not isinstance(node, integer.Neuron) or node.rounding is None:
        return node
    rows = max(len(node.thresholds), len(node.rounding.gain))
    gain, offset = (x.expand(rows).clone() for x in (node.rounding.gain, node.rounding.offset))
    thresholds = node.thresholds.expand(rows, -1).clone()
    return replace(node, thresholds=thresholds, rounding=integer.Rounding(gain, offset))


def test_ranges_of_random_networks_are_pythons(tmp_path: Path) -> None:
    paths = []
    for seed in range(60):
        path = tmp_path / f"{seed}.spk"
        # Some are networks that run and that no file holds.
        with contextlib.suppress(ShapeError, SpkError):
            graph = random_graph(seed)
            if graph is not None:
                write_spk(replace(graph, nodes=tuple(map(storable, graph.nodes))), path)
                paths.append(path)
    assert len(paths) > 30
    for path, answer in zip(paths, read(paths), strict=True):
        check_equal(path, answer)


def status_of(path: Path) -> int:
    """What libspk should say of a file: as Python, by the remedy that its error names."""
    try:
        read_spk(path)
    except SpkError as error:
        (status,) = (status for remedy, status in REMEDIES.items() if remedy in str(error))
        return status
    return READ


def check_statuses(files: Iterator[tuple[str, bytes]], folder: Path) -> dict[int, int]:
    """Both read files or refuse them for the same reason; how many of each there were."""
    names, paths = [], []
    for name, data in files:
        names.append(name)
        paths.append(folder / f"{len(paths)}.spk")
        paths[-1].write_bytes(data)
    tally: dict[int, int] = {}
    for name, path, answer in zip(names, paths, read(paths), strict=True):
        expected = status_of(path)
        assert answer["status"] == expected, (name, answer)
        tally[expected] = tally.get(expected, 0) + 1
        if expected == READ:
            check_equal(path, answer)
            continue
        text = answer["text"]
        assert text.startswith(f"{path} cannot be read: "), name
        assert "; " in text, name
        assert len(text) < 1000, name
        assert text.isprintable(), name
    return tally


def test_hostile_files_are_refused_as_by_python(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        for kind, edit, name in HOSTILE:
            parts = take_apart(least_file(kind))
            edit(parts)
            yield name, put_together(parts)

    assert READ not in check_statuses(files(), tmp_path)


def fuzzed(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files with a right checksum and anything else changed."""
    generator = random.Random(seed)
    for case in range(count):
        parts = take_apart(least_file(KINDS[case % 3]))
        target = generator.choice(["description", "tensor", "header"])
        for _ in range(generator.choice([1, 1, 1, 2, 3])):
            if target == "description":
                damage_description(parts.description, generator)
            elif target == "tensor":
                damage_tensor(parts, generator)
        header, payload = encode(parts)
        if target == "header":
            damage_header(header, generator)
        yield f"{target} {case}", seal(header, payload)


def test_fuzzed_files_are_read_or_refused_as_by_python(tmp_path: Path) -> None:
    tally = check_statuses(fuzzed(300, 0), tmp_path)
    assert set(tally) >= {READ, DAMAGED, NO_NETWORK}


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        generator = random.Random(0)
        whole = least_file(1)
        for case in range(200):
            data = bytearray(whole)
            at = generator.randrange(len(data) if case % 2 else 100)
            change = case % 4
            if change == 0:
                del data[at:]
            elif change == 1:
                data[at] ^= 1 << generator.randrange(8)
            elif change == 2:
                data[at:at] = generator.randbytes(8)
            else:
                del data[at : at + 8]
            yield f"{case}", bytes(data)

    assert READ not in check_statuses(files(), tmp_path)


Edit = Callable[[str], str]


def sealed(text: str, payload: bytes) -> bytes:
    """A file of a header as it is written here, with the right checksum where it has one."""
    data = len(text.encode()).to_bytes(8, "little") + text.encode() + payload
    zeros = b'"sha256":"' + b"0" * 64
    digest = hashlib.sha256(data).hexdigest().encode()
    return data.replace(zeros, b'"sha256":"' + digest, 1)


def replaced(old: str, *new: str) -> list[tuple[str, Edit]]:
    def edit(value: str) -> Edit:
        def apply(text: str) -> str:
            assert old in text
            return text.replace(old, value, 1)

        return apply

    return [(value[:80], edit(value)) for value in new]


def around(*others: str) -> list[tuple[str, Edit]]:
    before: list[tuple[str, Edit]] = [(f"{x!r} first", lambda text, x=x: x + text) for x in others]
    return before + [(f"{x!r} last", lambda text, x=x: text + x) for x in others]


NUMBERS = (
    *("-0", "1.0", "1e0", "true", "null", '"1"', "01", "+1", "1.", ".5", "1e", "-", "NaN", "-1"),
    *("Infinity", "1e400", "[]", "18446744073709551616", "9" * 4300, "9" * 4301),
)
SPACES = (" ", "\n", "\t", "\0", "\ufeff", "\xa0", "\f", ",", "}")
HEADERS = [
    *around(*SPACES),
    *replaced('"format":', *(f'"card":{c},"format":' for c in ("null", "3", '""', '"\\ud800"'))),
    *replaced('"format":', *(f'"card":"{c}","format":' for c in ("\\u0000", "\x01", "\x7f", "é"))),
    *replaced('"format":', '"card":"\\ud83d\\ude00","format":', '"card":"\\x","format":'),
    *replaced('"format":', '"format":"x","format":', f'"more":{"[" * 200}{"]" * 200},"format":'),
    *replaced('"format":', '"card":"\\"sha256\\":\\"","format":', '"\\u0066ormat":'),
    *replaced('{"__metadata__":', '{"__metadata__":{},"__metadata__":'),
    *replaced('"sha256":"', '"sha256": "', '"sha256":"sha256":"', '"sha256":"0'),
    *replaced('"version":"1"', *(f'"version":{n}' for n in (*NUMBERS, "2", '"02"', '"²"', '" 2"'))),
    *replaced('"version":"1"', *(f'"version":"{"9" * n}"' for n in (20, 58, 59))),
    *replaced('"shape":[4]', *(f'"shape":[{number}]' for number in (*NUMBERS, "4", "2,2", ""))),
    *replaced('"data_offsets":[0,', *(f'"data_offsets":[{n},' for n in (*NUMBERS, "0", "4", ""))),
    *replaced('"dtype":"F32"', '"dtype":"F32","more":1', '"dtype":"F32","dtype":"F32"'),
    *replaced(
        '"dtype":"F32"', '"dtype":"I32"', '"dtype":"BF16"', '"dtype":"f32"', '"dtype":["F32"]'
    ),
]
GRAPHS = [
    *around(*SPACES),
    *replaced('"scale": 0.0009765625', *(f'"scale": {number}' for number in NUMBERS)),
    *replaced('"scale": 0.0009765625', '"scale": 1E-400', '"scale": 5e-324', '"scale": 2e+5'),
    *replaced('"steps": 1', *(f'"steps": {number}' for number in (*NUMBERS, '1, "steps": 1'))),
    *replaced('"heads": 1', '"h\\u0065ads": 1', *(f'"heads": 1, "mean": {n}' for n in NUMBERS)),
    *replaced('"type": "Output"', *(f'"type": "Output", "of_queries": {n}' for n in NUMBERS)),
    *replaced('"vocabulary": 1', *(f'"vocabulary": {n}' for n in (*NUMBERS, "0", "2", "3"))),
    *replaced(
        '"readout"', *(json.dumps(n) for n in ("é", "日本", "\u200b", "\xa0", "\u3000", "😀"))
    ),
    *replaced(
        '"readout"', *(json.dumps(n) for n in ("a b", "\x7f", "\u2028", "\ufeff", "e\u0301"))
    ),
    *replaced(
        '"readout"', *(json.dumps(n) for n in ("x" * 200, "é" * 200, "é" * 201, '"', "%s%n"))
    ),
]


@pytest.mark.parametrize("of_graph", [False, True], ids=["header", "graph"])
def test_json_is_read_as_by_python(of_graph: bool, tmp_path: Path) -> None:
    """Numbers, spaces, escapes and keys that are there twice, in the header and in the graph."""

    def files() -> Iterator[tuple[str, bytes]]:
        header, payload = encode(take_apart(least_file(1)))
        metadata = header["__metadata__"]
        metadata["sha256"] = "0" * 64
        graph = metadata["graph"]
        for name, edit in GRAPHS if of_graph else HEADERS:
            if of_graph:
                metadata["graph"] = edit(graph)
            text = json.dumps(header, separators=(",", ":"))
            yield name, sealed(text if of_graph else edit(text), payload)

    assert set(check_statuses(files(), tmp_path)) >= {READ, NO_NETWORK, NEWER}


def test_tensors_lie_in_the_file_without_gaps(tmp_path: Path) -> None:
    header, payload = encode(take_apart(least_file(1)))
    size = len(payload)

    def files() -> Iterator[tuple[str, bytes]]:
        yield "as it is", seal(header, payload)
        yield "bytes that belong to none", seal(header, payload + b"\0")
        yield "cut off", seal(header, payload[:-1])
        for shape, offsets in [
            ([0], [0, 0]),
            ([0, LARGEST, LARGEST], [0, 0]),
            ([0, LARGEST + 1], [0, 0]),
            ([LARGEST, LARGEST, 4], [size, size]),
            ([], [size, size + 1]),
            ([4], [0, 4]),
            ([1], [size + 4, size + 5]),
            ([1], [size + 1, size]),
            ([1], [size, size + 1, size + 2]),
        ]:
            entry = {"dtype": "U8", "shape": shape, "data_offsets": offsets}
            yield f"{entry}", seal(header | {"more": entry}, payload + bytes(5))
            yield f"{entry}", seal(header | {"more": entry}, payload)

    assert check_statuses(files(), tmp_path)[READ] == 1


def test_files_cannot_make_reading_expensive(tmp_path: Path) -> None:
    parts = take_apart(least_file(1))
    parts.tensors.clear()
    first, last = parts.node("Input"), parts.node("Output")
    adds = [
        {"type": "Add", "name": str(i), "inputs": [first["name"]] * 2, "tensors": {}}
        for i in range(4000)
    ]
    parts.description["nodes"] = [first | {"channels": 2**16}, *adds, last | {"inputs": ["0"]}]
    header, payload = encode(take_apart(least_file(1)))
    deep = {"__metadata__": header["__metadata__"] | {"graph": "[" * 10**6}}
    wide = {"__metadata__": header["__metadata__"] | {"graph": f"[{'0,' * 10**6}0]"}}

    def files() -> Iterator[tuple[str, bytes]]:
        yield "channels", put_together(parts)
        yield "deep", seal(header | deep, payload)
        yield "wide", seal(header | wide, payload)

    assert check_statuses(files(), tmp_path) == {NO_NETWORK: 3}


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.spk", tmp_path / "empty.spk"
    empty.touch()
    of_missing, of_folder, of_empty = read([missing, tmp_path, empty])
    assert of_missing["status"] == NO_FILE
    assert of_missing["text"].startswith(f"{missing} is missing")
    assert of_folder["status"] == NO_FILE
    assert "it is not a file" in of_folder["text"]
    assert of_empty["status"] == DAMAGED
    assert "it is empty" in of_empty["text"]


def test_weights_of_all_bits_are_read(tmp_path: Path) -> None:
    """Rows that end within a byte, of both forms of reading them."""
    generator = np.random.default_rng(0)
    paths = []
    for bits in range(2, 9):
        parts = take_apart(least_file(1))
        for node in parts.description["nodes"]:
            if node["type"] == "Synapse":
                name = f"{node['name']}.weight"
                count = int(np.prod(node["tensors"]["weight"]))
                size = -(-count * bits // 8)
                parts.tensors[name] = generator.integers(0, 256, size, dtype="u1")
                node["bits"] = bits
        paths.append(tmp_path / f"{bits}.spk")
        paths[-1].write_bytes(put_together(parts))
    for path, answer in zip(paths, read(paths), strict=True):
        check_equal(path, answer)
