from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.errors import UserError
from spikesight.graph import Add, AttentionProduct, Input, MaxPool, Neuron, Output, Synapse, execute
from spikesight.graph.execution import execute_all
from spikesight.graph.tracing import UntraceableError
from spikesight.models.base import initialise_module


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


class _Two(nn.Module):
    """Two branches of one map and two heads, which `wire` puts together."""

    def __init__(self, steps: int = 2) -> None:
        super().__init__()
        self.presentation, self.readout = ss.Presentation(steps, 3, 1), ss.Readout(steps)
        self.stem, self.neuron = ss.ConvNorm(3, 8, 3), ss.create_neuron("i_lif", steps)
        self.left, self.right = ss.ConvNorm(8, 8, 3), ss.ConvNorm(8, 8, 3)
        self.last, self.last2 = ss.create_neuron("i_lif", steps), ss.create_neuron("i_lif", steps)
        self.pool, self.pool2 = ss.GlobalPool(), ss.GlobalPool()
        self.head, self.head2 = ss.Linear(8, 4), ss.Linear(8, 3)
        self.readout2 = ss.Readout(steps)

    def wire(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)

    def answer(self, x: Tensor) -> Any:
        return self.readout(self.head(self.pool(self.last(x))))

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.wire(self.neuron(self.stem(self.presentation(x)))))


class _Unread(_Two):
    def wire(self, x: Tensor) -> Tensor:
        self.right(x)
        return self.left(x)


class _ByName(_Two):
    def wire(self, x: Tensor) -> Tensor:
        y = self.left(input=x)
        return self.right(self.last2(current=y)).add(y)


class _Itself(_Two):
    def wire(self, x: Tensor) -> Tensor:
        y = self.left(x)
        return y + y


class _TwoHeads(_Two):
    def answer(self, x: Tensor) -> Any:
        first = self.readout(self.head(self.pool(self.last(x))))
        return first, self.readout2(self.head2(self.pool2(self.last2(x))))


class _OneOfTwoHeads(_TwoHeads):
    def answer(self, x: Tensor) -> Any:
        return super().answer(x)[0]


class _Plain(_Two):
    """A normalisation without gain, and a linear map without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.left = ss.Synapse(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8, affine=False))
        self.head = ss.Synapse(nn.Linear(8, 4, bias=False))


@pytest.mark.parametrize(
    "kind", [_Two, _Unread, _ByName, _Itself, _TwoHeads, _OneOfTwoHeads, _Plain]
)
def test_forwards_of_every_style_are_read_as_they_compute(kind: type[_Two]) -> None:
    torch.manual_seed(0)
    model = kind().train()
    model.apply(initialise_module)
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        for _ in range(5):
            model(4 * images)
    found = ss.verify(model.eval(), images)
    assert found.mismatches == 0
    assert found.output_error < 1e-12
    net = ss.deploy(model, images)
    assert net.verify(images, against=("spikes",)).mismatches == 0
    expected = model(images)
    expected = expected if isinstance(expected, tuple) else (expected,)
    computed = execute_all(ss.trace(model), images)
    for ours, theirs in zip(computed, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


class _Scaled(_Two):
    def wire(self, x: Tensor) -> Tensor:
        return torch.add(self.left(x), self.right(x), alpha=0.5)


class _InPlace(_Two):
    def wire(self, x: Tensor) -> Tensor:
        y = shortcut = self.left(x)
        y += self.right(x)
        return y + shortcut


class _Swapped(_TwoHeads):
    def answer(self, x: Tensor) -> Any:
        return super().answer(x)[::-1]


class _InDictionary(_Two):
    def answer(self, x: Tensor) -> Any:
        return {"logits": super().answer(x)}


class _PresentedTwice(_Two):
    def forward(self, x: Tensor) -> Any:
        x = self.stem(self.presentation(x)) + self.stem(self.presentation(x))
        return self.answer(self.wire(self.neuron(x)))


class _NotPresented(_Two):
    def forward(self, x: Tensor) -> Any:
        return self.answer(self.wire(self.neuron(self.stem(x))))


class _Membrane(_Two):
    def wire(self, x: Tensor) -> Tensor:
        y = self.left(x)
        return self.right(self.last2(y, y))


class _Doubled(ss.ConvNorm):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class _DoubledKernel(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def _with(**parts: nn.Module) -> _Two:
    model = _Two()
    for name, part in parts.items():
        setattr(model, name, part)
    return model


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_Scaled(), "calls add.*a synapse"),
        (_InPlace(), r"adds to left in place.*y = x \+ z"),
        (_Swapped(), "return the outputs.*in the order"),
        (_InDictionary(), "as a tensor, tuple or dataclass"),
        (_PresentedTwice(), "presents its input 2 times"),
        (_NotPresented(), r"start with ss\.Presentation"),
        (_Membrane(), "last2 is called with a membrane"),
        (_with(left=_Doubled(8, 8, 3)), "left is a _Doubled.*use a ConvNorm as it is"),
        (_with(left=ss.Synapse(_DoubledKernel(8, 8, 3, padding=1))), "_DoubledKernel.*a Conv2d"),
        (_with(last=ss.create_neuron("lif", 1)), "last has steps=1 and presentation 2"),
        (_with(readout=ss.Readout(1)), "readout has steps=1 and presentation 2"),
        (
            _with(left=ss.Synapse(nn.BatchNorm2d(8, track_running_stats=False))),
            "running statistics.*track_running_stats",
        ),
    ],
)
def test_what_would_be_read_as_another_network_is_refused(model: nn.Module, named: str) -> None:
    for reads in (ss.trace, lambda m: ss.deploy(m, torch.rand(2, 3, 8, 8))):
        with pytest.raises(UserError, match=named):
            reads(model)
