"""A .spk file gives its network back; what is no network is not written, and no file not read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

import spikesight as ss
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.deployment.spk.file import SpkError, read_spk, write_spk
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.calibration import Calibration
from spikesight.passes.integerisation import IntegerSettings, integerise
from spikesight.synapses.bit_packing import packed_length
from tests.conftest import wake
from tests.deployment.spk_files import (
    LEAST,
    SMALL,
    STEPS_1,
    difference,
    least,
    least_file,
    network,
)


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


def spikformer() -> integer.Graph:
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
    pool = next(node for node in nodes if isinstance(node, integer.MaxPool))
    total = next(n for n in nodes if isinstance(n, integer.Add))
    position = nodes.index(total) + 1
    of_sum = integer.MaxPool("of_sum", (total.name,), 3, 1, 1)

    def with_nodes(*changed: integer.Node) -> integer.Graph:
        return replace(graph, nodes=changed)

    wide = tuple(replace(n, padding=2) if n is pool else n for n in nodes)
    vector = (*nodes[:-1], integer.MaxPool("late", nodes[-1].inputs, 1, 1, 0), nodes[-1])
    doubled: list[integer.Node] = [*nodes[:position]]
    for index in range(20):
        last = doubled[-1].name
        doubled.append(integer.Add(f"twice{index}", (last, last)))
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
    leaks = [
        integer.Leak("none"),
        integer.Leak("all"),
        integer.Leak("share", 3),
        integer.Leak("rest", 15),
    ]
    nodes = [
        replace(node, leak=leaks[i % 4], reset=("soft", "hard")[i % 2])
        if isinstance(node, integer.Neuron)
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
            synapses = [node for node in graph.nodes if isinstance(node, integer.Synapse)]
            for index, node in enumerate(synapses):
                packed = file.get_tensor(f"{node.name}.weight")
                assert packed.dtype == torch.uint8
                own = min(bits, 7) if index == 0 else bits  # the image's weights have 7 bits
                assert packed.shape == (packed_length(node.weight.numel(), own),)
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


def change(graph: integer.Graph, kind: type, **values: Any) -> integer.Graph:
    """The graph with other values in its last node of a type."""
    last = next(node for node in reversed(graph.nodes) if isinstance(node, kind))
    new: Any = replace(last, **values)
    return replace(graph, nodes=tuple(new if node is last else node for node in graph.nodes))


def test_a_network_that_is_none_is_not_written(tmp_path: Path) -> None:
    graph = least(1)
    path = tmp_path / "net.spk"
    path.write_bytes(b"an older file")
    for bad, message in [
        (change(graph, integer.Synapse, bits=2), "values from .* do not fit into 2 bits"),
        (change(graph, integer.Synapse, stride=0), "stride is 0 instead of 1 to 255"),
        (change(graph, integer.Neuron, steps=torch.tensor(1)), "steps is None"),
        (change(graph, integer.Neuron, steps=np.int64(1)), "no form in JSON"),
        (change(graph, integer.Neuron, rounding=None, levels=9), "4 thresholds for 9 levels"),
        (replace(graph, nodes=graph.nodes[1:]), "before it exists"),
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
