"""Networks drawn at random compute the same in every form, with any threads and shape."""

from __future__ import annotations

import pytest
import torch

import spikesight as ss

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from tests.deployment.random_graphs import random_graph
from tests.deployment.random_networks import Case, case, drawn, search


@pytest.mark.parametrize("seed", [4, 6, 9])
def test_no_form_differs(seed: int) -> None:
    one = case(**drawn(seed))
    assert one is not None
    assert one.differences() == {}


def _of_graph(seed: int) -> Case | None:
    graph = random_graph(seed)
    if graph is None:
        return None
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(9, graph.input.channels, *graph.max_size, generator=generator) * 3
    return Case(ss.Deployed(graph), x)


@pytest.mark.parametrize("seed", range(4))
def test_no_form_of_a_drawn_graph_differs(seed: int) -> None:
    one = _of_graph(seed)
    assert one is not None
    assert one.differences(threads=(1,)) == {}


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(10_000, 12_000, 50))
def test_no_form_differs_over_many_drawn_graphs(first: int) -> None:
    for seed in range(first, first + 50):
        one = _of_graph(seed)
        assert one is None or one.differences(threads=(1 + seed % 2,)) == {}, f"seed {seed}"


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(1000, 1200, 10))
def test_no_form_differs_over_many_draws(first: int) -> None:
    assert search(first, 10) == {}
