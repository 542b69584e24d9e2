from __future__ import annotations

import torch

import spikesight as ss
from spikesight.graph import Affine, Synapse, execute
from spikesight.graph.execution import apply_affine
from spikesight.passes.folding import fold_factors
from spikesight.synapses import RepConv
from tests.conftest import wake


def test_rep_conv_becomes_one_dense_kernel_with_zero_padding() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3)
    wake(model, torch.rand(4, 3, 16, 16) * 3)
    model.double()
    graph = ss.fold(ss.trace(model))
    module = model.get_submodule("trunk.3.1.attention.query")
    assert isinstance(module, RepConv)
    (factor,) = graph.by_name["trunk.3.1.attention.query"].factors
    assert factor.weight.shape[-2:] == (3, 3)
    assert factor.groups == 1
    assert factor.border is None
    x = torch.rand(2, module.reduce.in_channels, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(apply_affine(factor, x), module(x), rtol=1e-12, atol=1e-12)


def test_depthwise_then_pointwise_stays_two_factors() -> None:
    graph = ss.fold(ss.trace(ss.create_model("metaspikformer_nano", separable="official")))
    longest = max(
        (node for node in graph.nodes if isinstance(node, Synapse)), key=lambda n: len(n.factors)
    )
    assert longest.name.endswith("separable.project.0")
    assert [factor.is_depthwise for factor in longest.factors] == [True, False]


def test_folding_keeps_the_function_and_moves_the_units() -> None:
    for neuron in ("ni_lif", "qsd_classification", "relu"):
        model = ss.create_model(
            "metaspikformer_nano", num_classes=3, neuron=neuron, layer_scale=0.3
        )
        x = torch.rand(3, 3, 16, 16) * 3
        wake(model, x)
        model.double()
        graph = ss.trace(model)
        folded = ss.fold(graph)
        torch.testing.assert_close(
            execute(folded, x.double()), execute(graph, x.double()), rtol=1e-10, atol=1e-10
        )
        assert all(n.dynamics is None or n.dynamics.unit == 1.0 for n in folded.neurons)
        assert len(folded.nodes) < len(graph.nodes)


def test_a_border_that_is_not_the_image_of_zero_does_not_fold() -> None:
    pointwise = Affine(torch.rand(4, 4, 1, 1), torch.rand(4))
    depthwise = Affine(torch.rand(4, 1, 3, 3), None, padding=1, groups=4)
    assert len(fold_factors((pointwise, depthwise))) == 2
    depthwise = Affine(torch.rand(4, 1, 3, 3), None, padding=1, groups=4, border=pointwise.bias)
    assert len(fold_factors((pointwise, depthwise))) == 1
