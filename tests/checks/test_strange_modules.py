"""Modules and inputs of every kind are examined, and none is changed by it."""

from __future__ import annotations

import copy
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.checks import CheckReport
from tests.checks.faulty_networks import StatefulLIF


class Calls(nn.Module):
    """A linear map within any forward."""

    def __init__(self, forward: Callable[..., Any], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3) if layer is None else layer
        self.does = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.does(self.layer, *args, **kwargs)


def verdicts(report: CheckReport) -> dict[str, str]:
    """The worst verdict of every check."""
    order = ("clean", "note", "not examined", "FINDING")
    worst: dict[str, str] = {}
    for answer in report.answers:
        worst[answer.check] = max(worst.get(answer.check, "clean"), answer.verdict, key=order.index)
    return worst


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (Calls(lambda f, x: {"a": f(x), "none": None, "name": "b", "c": (f(x), [1])}), None),
        (Calls(lambda f, x, y: f(x) + y), (torch.randn(4, 6), torch.randn(4, 3))),
        (Calls(lambda f, *, x, y: f(x) + y), {"x": torch.randn(4, 6), "y": torch.randn(4, 3)}),
        (Calls(lambda f, xs: [{"a": f(x)} for x in xs]), [torch.randn(2, 6), torch.randn(3, 6)]),
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), torch.randn(1, 6)),
        (nn.LSTM(6, 5, batch_first=True), torch.randn(3, 7, 6)),
        (nn.LSTM(6, 5), torch.randn(7, 3, 6)),
        (nn.GRU(6, 5), torch.randn(7, 3, 6)),
        (nn.MultiheadAttention(6, 2), (torch.randn(7, 3, 6),) * 3),
        (nn.TransformerEncoderLayer(6, 2, 12, batch_first=True), torch.randn(3, 7, 6)),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), None),
        (Calls(lambda f, x: f(x.mul_(2))), None),
        (nn.Sequential(shared := nn.Linear(6, 6), nn.ReLU(), shared), None),
        (nn.Linear(6, 3, dtype=torch.complex64), torch.randn(4, 6, dtype=torch.complex64)),
        (Calls(lambda f, x: torch.fft.fft(f(x))), None),
        (nn.Linear(6, 3).double(), torch.randn(4, 6).double()),
        (nn.Linear(6, 3).bfloat16(), torch.randn(4, 6).bfloat16()),
        (nn.Sequential(nn.Embedding(10, 4), nn.Flatten()), torch.randint(10, (3, 5))),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten()), torch.randn(3, 1, 4, 4, 4)),
        (Calls(lambda f, x: f(x.view(4, 6))), None),
        (nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)), None),
        (nn.ReLU(), None),
        (ss.create_neuron("lif"), None),
    ],
)
def test_sound_modules_of_every_kind_have_no_finding(module: nn.Module, example: Any) -> None:
    report = ss.check(module, 2 * torch.randn(4, 6) if example is None else example)
    assert report.ok, report.table()


@pytest.mark.parametrize(
    ("forward", "check"),
    [
        (lambda f, x: f(x).mean(), "batch"),
        (lambda f, x: {"loss": f(x)} if f.training else f(x), "train and eval"),
        (lambda f, x: f(x) if not f.training else 1 / 0, "train and eval"),
    ],
)
def test_what_cannot_be_asked_is_said_and_no_fault(forward: Any, check: str) -> None:
    report = ss.check(Calls(forward), torch.randn(4, 6))
    assert report.ok
    assert verdicts(report)[check] == "not examined"


def test_outputs_without_tensors_cannot_be_trained() -> None:
    report = ss.check(Calls(lambda f, x: None), torch.randn(4, 6))
    assert [answer.check for answer in report.findings] == ["gradient"]


def test_a_backward_that_fails_is_a_finding() -> None:
    report = ss.check(Calls(lambda f, x: torch.sigmoid(f(x)).mul_(2)), torch.randn(4, 6))
    assert [answer.check for answer in report.findings] == ["gradient"]
    assert "inplace" in report.table()


def test_parameters_that_are_built_late_are_seen() -> None:
    class Built(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer: nn.Linear | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.layer = nn.Linear(6, 3) if self.layer is None else self.layer
            return self.layer(x)

    for module in (Built(), nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())):
        report = ss.check(module, torch.randn(4, 6))
        assert report.ok, report.table()
        assert "of 0 parameters" not in report.table()
    assert isinstance(module[0], nn.LazyLinear)


def test_a_recurrent_network_that_reads_backwards_is_not_causal() -> None:
    both = nn.LSTM(6, 5, bidirectional=True)
    report = ss.check(both, torch.randn(7, 3, 6), axes="TB")
    assert [(answer.check, answer.module) for answer in report.findings] == [("axes", "(itself)")]


def test_an_attribute_that_counts_calls_is_noted_only() -> None:
    class Counting(nn.Linear):
        calls = torch.zeros(())

        def forward(self, x: Tensor) -> Tensor:
            self.calls = self.calls + 1
            return super().forward(x)

    assert verdicts(ss.check(Counting(6, 3), torch.randn(4, 6)))["state"] == "note"


def test_a_module_that_writes_to_its_parameters_has_state() -> None:
    def decays(layer: nn.Linear, x: Tensor) -> Tensor:
        with torch.no_grad():
            layer.weight.mul_(0.9)
        return layer(x)  # type: ignore[no-any-return]

    module = Calls(decays)
    before = copy.deepcopy(module.state_dict())
    report = ss.check(module, torch.randn(4, 6))
    assert [answer.check for answer in report.findings] == ["state"]
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_the_module_and_the_generators_stay_as_they_are() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), StatefulLIF(), nn.Dropout(), nn.Flatten()
    )
    module[3].eval()
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    state = copy.deepcopy(module.state_dict())
    gradients = [parameter.grad.clone() for parameter in module.parameters()]  # type: ignore[union-attr]
    parts = list(module.parameters())
    membrane = module[2].membrane
    kept = membrane.clone()
    modes = [part.training for part in module.modules()]
    generators = (torch.get_rng_state(), np.random.get_state()[1], random.getstate())  # noqa: NPY002
    example = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    shown = example.clone()

    ss.check(module, example)

    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert all(map(torch.equal, gradients, [p.grad for p in module.parameters()]))  # type: ignore[arg-type]
    assert all(one is other for one, other in zip(parts, module.parameters(), strict=True))
    assert module[2].membrane is membrane
    assert torch.equal(membrane, kept)
    assert modes == [part.training for part in module.modules()]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.equal(generators[0], torch.get_rng_state())
    assert np.array_equal(generators[1], np.random.get_state()[1])  # noqa: NPY002
    assert generators[2] == random.getstate()
    assert torch.equal(example, shown)


def test_mistakes_are_told_with_their_remedy() -> None:
    linear = nn.Linear(6, 3)
    images = torch.randn(4, 6)
    locked = nn.Linear(6, 3)
    locked.lock = threading.Lock()
    for asked, words in (
        (lambda: ss.check(torch.relu, images), "pass a torch.nn.Module"),
        (lambda: ss.check(linear, 3), "pass a tensor"),
        (lambda: ss.check(linear, images, axes="CB"), "pass auto, B, TB, BT, folded"),
        (lambda: ss.check(linear, images[:0]), "holds nothing"),
        (lambda: ss.check(linear, images, steps=3), "by which the first axis"),
        (lambda: ss.check(linear, torch.randn(4), axes="TB"), "pass other axes"),
        (lambda: ss.check(linear, torch.randn(4, 5)), "pass an example that it takes"),
        (lambda: ss.check(locked, images), "Linear cannot be copied"),
    ):
        with pytest.raises(ss.errors.UserError, match=words):
            asked()  # type: ignore[no-untyped-call]


def test_long_runs_say_what_they_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ss.check(nn.Linear(6, 3), torch.randn(4, 6))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.modules["spikesight.checks.checking"], "_SLOW", 0.0)
    ss.check(nn.Linear(6, 3), torch.randn(4, 6))
    captured = capsys.readouterr()
    assert "check: altering sample 0" in captured.err
    assert captured.out == ""


def test_tables_count_what_they_leave_out() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(12))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[0](x)  # type: ignore[no-any-return]

    report = ss.check(Unused(), torch.randn(3, 2))
    assert len(report.findings) == 11
    assert "and 3 more modules" in report.table()
    assert "and 3 more modules" not in report.table(most=20)


def test_an_example_that_wants_a_gradient_gets_none() -> None:
    example = torch.randn(4, 6, requires_grad=True)
    assert ss.check(nn.Linear(6, 3), example).ok
    assert example.grad is None


def test_a_module_that_takes_one_call_only_has_state() -> None:
    class Once(nn.Linear):
        called = False

        def forward(self, x: Tensor) -> Tensor:
            if self.called:
                raise RuntimeError("called twice")
            self.called = True
            return super().forward(x)

    report = ss.check(Once(6, 3), torch.randn(4, 6))
    assert [answer.check for answer in report.findings] == ["state"]
    assert "a later call fails with RuntimeError: called twice" in report.table()


def test_a_module_that_refuses_altered_inputs_is_not_examined_for_leaks() -> None:
    example = torch.randn(3, 6)

    def only_this(layer: nn.Module, x: Tensor) -> Tensor:
        if not torch.equal(x, example):
            raise KeyError("unknown sample")
        return layer(x)  # type: ignore[no-any-return]

    report = ss.check(Calls(only_this), example)
    assert verdicts(report)["batch"] == "not examined"
    assert verdicts(report)["state"] == verdicts(report)["gradient"] == "clean"
