from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.graph import (
    Add,
    Graph,
    Node,
    Output,
    Synapse,
    execute,
    integer_vocabulary as integer,
)
from spikesight.graph.operations import Shape, ShapeError
from spikesight.graph.tracing import image_part
from tests.conftest import wake
from tests.registered_models import MODELS, NANO, tensors

SIZE = (32, 64)


@pytest.mark.parametrize("name", NANO)
def test_shapes_are_those_of_the_values(name: str) -> None:
    model = ss.create_model(name, num_classes=5, steps=2)
    x = torch.rand(1, 3, *SIZE)
    wake(model, x)
    graph = ss.trace(model)
    seen = {}

    def observe(node: Node, _: tuple[Tensor, ...], output: Tensor) -> None:
        if not isinstance(node, Output):
            seen[node.name] = tuple(output.shape[1:])

    execute(graph, x, observe)
    shapes = graph.shapes(SIZE)
    assert seen == {name: (shapes[name].channels, *shapes[name].size) for name in seen}
    assert seen.keys() == {node.name for node in graph.nodes if not isinstance(node, Output)}

    seen.clear()
    net = ss.deploy(model, x)

    def observe_integers(node: integer.Node, output: Tensor) -> None:
        if not isinstance(node, integer.Output):
            seen[node.name] = tuple(output.shape[1:])

    IntegerExecutor(net.graph)(x, observe_integers)
    shapes = net.graph.shapes(SIZE)
    assert seen == {name: (shapes[name].channels, *shapes[name].size) for name in seen}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_traced_with_the_shapes_of_its_outputs(name: str) -> None:
    with torch.device("meta"):
        model = ss.create_model(name, num_classes=5).eval()
        assert model.recipe["name"] == name
        graph = ss.trace(model)
        outputs = list(tensors(image_part(model)(torch.empty(1, 3, 224, 224))))
    shapes = graph.shapes((224, 224))
    for node, output in zip(graph.outputs, outputs, strict=True):
        shape = shapes[node.name]
        queries = (*shape.size[1:], shape.channels)
        expected = queries if node.of_queries else (shape.channels, *shape.size)
        assert output.shape[1:] == expected


def test_what_does_not_fit_is_named() -> None:
    graph = ss.trace(ss.create_model("metaspikformer_nano", num_classes=5))
    with pytest.raises(ShapeError, match="an image of 1 channels, not 3"):
        graph.input.infer_shape(Shape(1, (8, 8)))
    synapse = next(node for node in graph.nodes if isinstance(node, Synapse))
    with pytest.raises(ShapeError, match=rf"'{synapse.name}': weight has 3 inputs of 4"):
        synapse.infer_shape(Shape(4, (8, 8)))
    with pytest.raises(ShapeError, match="a map needs a kernel and a vector a matrix"):
        synapse.infer_shape(Shape(3))
    unpadded = replace(synapse, factors=(replace(synapse.factors[0], padding=0),))
    with pytest.raises(ShapeError, match=r"it gives a map of \(0, 0\) pixels"):
        unpadded.infer_shape(Shape(3, (1, 1)))
    add = next(node for node in graph.nodes if isinstance(node, Add))
    once = Shape(8, (1, 1), fixed=True)
    assert add.infer_shape(once, Shape(8, (4, 4))) == Shape(8, (4, 4))
    with pytest.raises(ShapeError, match="its inputs are"):
        add.infer_shape(Shape(8, (4, 4)), Shape(8, (2, 2)))
    broken = Graph((graph.input, replace(synapse, inputs=(graph.input.name,))))
    assert broken.shapes((8, 8)).keys() == {graph.input.name, synapse.name}
