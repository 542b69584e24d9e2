"""NIR carries what its primitives can say, names what they cannot, and comes back equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.deployment.export.exactness import ExportError, refuse_difference
from spikesight.deployment.export.exporting import export
from spikesight.deployment.runtime.integers import Counts
from spikesight.graph import integer_vocabulary as integer
from tests.deployment.small_networks import deployed

nir = pytest.importorskip("nir")

from spikesight.deployment.export.nir import from_nir, to_nir  # noqa: E402

CONVOLUTIONAL = {"depths": (1, 1, 1, 0, 0), "neuron": "i_lif", "levels": 4}


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if is_dataclass(first):
        names = [field.name for field in fields(first)]
        return type(first) is type(second) and all(
            _same(getattr(first, name), getattr(second, name)) for name in names
        )
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


@pytest.mark.parametrize(
    "options",
    [
        CONVOLUTIONAL,
        {**CONVOLUTIONAL, "separable": "official"},
        {"depths": (1, 1, 1, 0, 0), "neuron": "lif", "steps": 4},
    ],
)
def test_nir_carries_a_convolutional_network(options: dict[str, Any], tmp_path: Path) -> None:
    graph = deployed(28, **options)
    network, unsaid = to_nir(graph, (28, 28))
    nir.write(tmp_path / "model.nir", network)
    assert _same(graph, from_nir(nir.read(tmp_path / "model.nir")))
    shifted = [
        node.name
        for node in graph.nodes
        if isinstance(node, integer.Synapse) and bool((node.shift < 0).any())
    ]
    over_time = [neuron.name for neuron in graph.neurons if neuron.steps > 1]
    assert {line.split(":")[0] for line in unsaid} == {*shifted, *over_time}
    with pytest.warns(UserWarning, match=r"come close to .*head: rounds down"):
        export(graph, tmp_path / "exported.nir", (28, 28))
    assert _same(graph, from_nir(nir.read(tmp_path / "exported.nir")))


def test_nir_names_maxima(tmp_path: Path) -> None:
    graph = deployed(28, name="spikformer_nano", neuron="lif", steps=4)
    with pytest.raises(ExportError, match=r"trunk\.0\.pool \(a maximum over pixels\)"):
        export(graph, tmp_path / "net.nir", (28, 28))


def test_nir_names_what_it_cannot_say(tmp_path: Path) -> None:
    product = r"trunk\.3\.1\.attention\.product .*trunk\.4\.1\.attention\.product"
    with pytest.raises(ExportError, match=product):
        export(deployed(28, neuron="i_lif", levels=4), tmp_path / "model.nir", (28, 28))
    membrane = deployed(28, **{**CONVOLUTIONAL, "neuron": "ni_lif", "levels": 3, "steps": 2})
    with pytest.raises(ExportError, match=r"head_neuron \(a membrane .* up to 3 spikes"):
        to_nir(membrane, (28, 28))
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_or_damaged_nir_graph_is_refused() -> None:
    foreign = nir.NIRGraph.from_list(nir.Linear(np.ones((2, 3))))
    with pytest.raises(ValueError, match="carries no spikesight metadata"):
        from_nir(foreign)
    network, _ = to_nir(deployed(28, **CONVOLUTIONAL), (28, 28))
    network.nodes["head"].metadata = {"spikesight": '{"kind": "IntegerSynapse"}'}
    with pytest.raises(ValueError, match="head has damaged"):
        from_nir(network)
    del network.nodes["head"]
    with pytest.raises(ValueError, match="nodes"):
        from_nir(network)


def _run_nir(network: Any, name: str, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """NIR's equations for one time step, in float64."""
    values: dict[str, Tensor] = {}
    remaining = dict(network.nodes)
    while remaining:
        for key, node in list(remaining.items()):
            sources = [a for a, b in network.edges if b == key]
            if any(source not in values for source in sources):
                continue
            current = x if key == name else torch.stack([values[s] for s in sources]).sum(0)
            values[key] = _apply(node, current)
            yield key, values[key]
            del remaining[key]


def _apply(node: Any, x: Tensor) -> Tensor:
    parameters = {k: torch.tensor(v).double() for k, v in vars(node).items() if _is_array(v)}
    match type(node).__name__:
        case "Conv2d":
            weight, bias = parameters["weight"], parameters["bias"]
            return F.conv2d(x, weight, bias, node.stride, node.padding, 1, node.groups)
        case "Affine":
            return F.linear(x, parameters["weight"], parameters["bias"])
        case "Threshold":
            return (x > parameters["threshold"]).double()
        case "Scale":
            return x * parameters["scale"]
        case "SumPool2d":
            return x.sum((-2, -1), keepdim=True)
        case "Flatten":
            return x.flatten(1)
    return x


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def test_nir_equations_give_the_counts() -> None:
    graph = deployed(28, **CONVOLUTIONAL)
    nodes = tuple(
        replace(node, shift=node.shift.clamp(min=0)) if isinstance(node, integer.Synapse) else node
        for node in graph.nodes
    )
    graph = replace(graph, nodes=nodes)
    network, unsaid = to_nir(graph, (28, 28))
    assert unsaid == []
    x = (torch.rand(2, 3, 28, 28) * 4 - 1).mul(2.0**graph.input.shift).round()
    counts: Counts = {}
    logits = torch.empty(0)
    for name, value in _run_nir(network, graph.input.name, x.double()):
        neuron = name.split("@")[0]
        if isinstance(graph.by_name.get(neuron), integer.Neuron):
            counts[neuron] = counts.get(neuron, torch.zeros(())) + value
        if name == graph.output.name:
            logits = value
    refuse_difference(graph, x * 2.0**-graph.input.shift, "NIR", counts, logits)
    assert all(bool(count.any()) for count in counts.values())
