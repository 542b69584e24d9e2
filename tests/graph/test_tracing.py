from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.graph import Add, AttentionProduct, Input, MaxPool, Neuron, Output, Synapse, execute
from spikesight.graph.tracing import UntraceableError


def test_the_graph_computes_what_the_model_computes() -> None:
    for neuron in ("lif", "i_lif", "relu"):
        model = ss.create_model("metaspikformer_nano", num_classes=4, neuron=neuron, steps=2)
        model = model.double().eval()
        x = torch.rand(2, 3, 28, 28, dtype=torch.float64) * 4
        torch.testing.assert_close(execute(ss.trace(model, x), x), model(x), rtol=1e-10, atol=1e-10)


def test_the_vocabulary_covers_the_model() -> None:
    model = ss.create_model("metaspikformer_15m", steps=4)
    graph = ss.trace(model)
    kinds = {kind: sum(isinstance(n, kind) for n in graph.nodes) for kind in (Neuron, Add, Synapse)}
    assert kinds[Neuron] == sum(isinstance(m, ss.neurons.Neuron) for m in model.modules())
    assert kinds[Add] == 2 * (1 + 1 + 2 + 6 + 2)
    assert sum(isinstance(n, AttentionProduct) for n in graph.nodes) == 8
    assert isinstance(graph.nodes[0], Input)
    assert isinstance(graph.nodes[-1], Output)
    query, key, value = next(n for n in graph.nodes if isinstance(n, AttentionProduct)).inputs
    assert (query, key, value) == tuple(
        f"trunk.3.1.attention.{name}_neuron" for name in ("query", "key", "value")
    )


def test_training_on_does_not_change_a_graph() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=4).eval()
    x = torch.rand(1, 3, 28, 28)
    graph = ss.trace(model)
    before = execute(graph, x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert torch.equal(execute(graph, x), before)


class _Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = ss.create_model("metaspikformer_nano")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x) * 2
        return y


class _Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_said_is_named() -> None:
    with pytest.raises(UntraceableError, match=r"mul.*vocabulary cannot say"):
        ss.trace(_Doubling())
    with pytest.raises(UntraceableError, match="_Branching cannot be traced"):
        ss.trace(_Branching())
    model = ss.create_model("metaspikformer_nano")
    model.trunk[0][0].conv.conv = nn.Conv2d(3, 32, 3, 2, 2, dilation=2)
    with pytest.raises(UntraceableError, match=r"trunk\.0\.0\.conv\.conv.*no dilation"):
        ss.trace(model)
    model.trunk[0][0].conv.conv = nn.GroupNorm(1, 3)
    with pytest.raises(UntraceableError, match="GroupNorm"):
        ss.trace(model)


def test_maxima_that_cannot_be_said_are_named() -> None:
    model = ss.create_model("spikformer_nano")
    assert sum(isinstance(node, MaxPool) for node in ss.trace(model).nodes) == 2
    for pool in (nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d((3, 2), 2, (1, 1))):
        model.trunk[0].pool = pool
        with pytest.raises(UntraceableError, match=r"trunk\.0\.pool: only square windows"):
            ss.trace(model)


def test_softmax_is_named() -> None:
    model = ss.create_model("spikformer_nano", attention="softmax")
    with pytest.raises(UntraceableError, match=r"trunk\.4\.attention\.product"):
        ss.trace(model)


def test_an_unfit_example_is_refused() -> None:
    with pytest.raises(ValueError, match="in_channels=1"):
        ss.trace(ss.create_model("metaspikformer_nano"), torch.rand(1, 1, 28, 28))
