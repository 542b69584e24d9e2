"""torch.compile sees every model as one graph."""

from __future__ import annotations

import copy

import pytest
import torch

import spikesight as ss
from spikesight.graph.tracing import image_part
from tests.registered_models import NANO, SEGMENTERS, tensors, without

CASES = [(name, True) for name in NANO] + [(name, False) for name in without(NANO, SEGMENTERS)]


@pytest.mark.parametrize(("name", "training"), CASES)
def test_a_model_compiles_without_graph_breaks(name: str, training: bool) -> None:
    torch.manual_seed(0)
    model = image_part(ss.create_model(name).train(training))
    # The backend runs the graph as it was traced: nothing is compiled, and no bit may differ.
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="eager")
    x = torch.randn(2, 3, 64, 64)
    outputs = []
    for call in (model, compiled):
        torch.manual_seed(1)
        outputs.append([output.detach() for output in tensors(call(x))])
    for expected, found in zip(*outputs, strict=True):
        assert torch.equal(found, expected)
