"""Each fault is found, by the name of the module that causes it, and nothing else is."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from tests.checks.faulty_networks import (
    MultiStepLIF,
    QKFormerLike,
    SpikingSelfAttention,
    StatefulLIF,
    fire,
)

_MIXES = ("batch", "batch in training", "axes", "state", "random", "train and eval")


def found(module: nn.Module, example: object, **options: object) -> dict[str, list[str]]:
    """The modules that are named, by check."""
    torch.manual_seed(0)
    by_check: dict[str, list[str]] = {}
    for answer in ss.check(module, example, **options).findings:  # type: ignore[arg-type]
        by_check.setdefault(answer.check, []).append(answer.module)
    return by_check


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def clean_network() -> nn.Sequential:
    """Two layers that fire, for [T, B, 2, 8, 8]."""

    class OverSteps(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    return nn.Sequential(
        OverSteps(nn.Conv2d(2, 6, 3, padding=1), fire(nn.BatchNorm2d(6))),
        MultiStepLIF(),
        OverSteps(nn.Conv2d(6, 6, 3, padding=1), fire(nn.BatchNorm2d(6))),
        MultiStepLIF(),
        OverSteps(nn.Flatten(), nn.Linear(6 * 64, 5)),
    )


def test_the_released_qkformer_leaks_at_its_first_projection_neuron() -> None:
    images = torch.randn(2, 3, 16, 16)
    faults = found(QKFormerLike(as_released=True), images)
    assert faults == {
        "batch": ["stage3.0.attn.proj_lif"],
        "batch in training": ["stage3.0.attn.proj_lif"],
    }


def test_the_corrected_qkformer_is_clean() -> None:
    report = ss.check(QKFormerLike(as_released=False), torch.randn(2, 3, 16, 16))
    assert report.ok, report.table()


def test_a_leak_is_found_from_an_example_of_one_sample() -> None:
    faults = found(QKFormerLike(as_released=True), torch.randn(1, 3, 16, 16))
    assert faults["batch"] == ["stage3.0.attn.proj_lif"]


def test_a_leaking_block_that_takes_time_and_batch_is_found_by_name() -> None:
    spikes = (torch.rand(4, 2, 16, 6) < 0.5).float()
    block = fire(SpikingSelfAttention(16, 2, as_released=True))
    assert found(block, spikes, axes="TB")["batch"] == ["proj_lif"]
    block.as_released = False
    assert not set(found(block, spikes, axes="TB")) & set(_MIXES)


def test_a_clean_network_has_no_finding_whatever_it_is_given_in() -> None:
    spikes = (torch.rand(4, 3, 2, 8, 8) < 0.5).float()
    report = ss.check(clean_network(), spikes)
    assert report.ok, report.table()
    assert "the batch is axis 1" in report.table()
    assert "4 time steps reach later ones alone" in report.table()


def test_exchanged_axes_are_found() -> None:
    spikes = (torch.rand(4, 3, 2, 8, 8) < 0.5).float()
    report = ss.check(clean_network(), spikes, axes="BT")
    assert {answer.check for answer in report.findings} == {"batch", "batch in training", "axes"}
    assert "exchange both axes" in report.table()


def test_batch_first_time_folded_as_if_time_came_first_is_found() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 6, 3)
            self.lif = MultiStepLIF()

        def forward(self, x: Tensor) -> Tensor:  # [B, T, ...], folded to [T*B, ...] by mistake
            batch, steps = x.shape[:2]
            current = 3 * self.conv(x.flatten(0, 1))
            return self.lif(current.view(steps, batch, *current.shape[1:])).mean(0)

    faults = found(Folded(), torch.rand(3, 4, 2, 6, 6), axes="BT")
    assert faults["batch"] == ["lif"]


def test_folded_inputs_have_both_axes() -> None:
    class Folded(nn.Module):
        def __init__(self, *, right: bool) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 6, 3)
            self.lif = MultiStepLIF()
            self.right = right

        def forward(self, x: Tensor) -> Tensor:
            current = 4 * self.conv(x) + 1
            if not self.right:
                return self.lif(current)
            return self.lif(current.unflatten(0, (4, -1))).flatten(0, 1)

    images = torch.rand(8, 2, 6, 6)
    assert found(Folded(right=False), images, axes="folded", steps=4)["batch"] == ["lif"]
    assert not found(Folded(right=True), images, steps=4)


def test_a_step_that_sees_later_ones_is_not_causal() -> None:
    class MeanOverTime(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0, keepdim=True)

    network = nn.Sequential(clean_network(), MeanOverTime())
    faults = found(network, (torch.rand(4, 3, 2, 8, 8) < 0.5).float(), axes="TB")
    assert faults == {"axes": ["1"]}


def test_a_state_that_is_not_reset_is_found_and_reset_can_precede_calls() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        fire(nn.BatchNorm2d(4)),
        StatefulLIF(),
        nn.Conv2d(4, 4, 3),
        fire(nn.BatchNorm2d(4)),
        StatefulLIF(),
    )
    images = torch.rand(3, 3, 8, 8)
    assert found(network, images) == {"state": ["2"]}
    assert not found(network, images, reset=True)
    assert network[2].membrane == 0.0


def test_a_mean_over_the_batch_is_found_where_the_code_is() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.head((x - x.mean(0)).amax((2, 3)))

    network = nn.Sequential(Centred())
    report = ss.check(network, torch.randn(3, 3, 8, 8))
    (answer, *_) = [a for a in report.findings if a.check == "batch"]
    assert answer.module == "0"
    assert "before it calls 0.head" in answer.text


def test_what_depends_on_the_number_of_samples_is_found() -> None:
    class Divided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / len(x)

    assert found(Divided(), torch.randn(3, 5)) == {"batch": [""]}


def test_dead_parameters_are_found() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
            self.cut = nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.cut(x).detach()
            return self.used(x) + 0 * self.scale

    assert found(Dead(), torch.randn(3, 4)) == {"gradient": ["unused", "cut", "(itself)"]}


def test_convolutions_that_read_means_or_currents_are_found() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        fire(nn.BatchNorm2d(8)),
        ss.create_neuron("lif"),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 1),
        fire(nn.BatchNorm2d(8)),
        ss.create_neuron("lif"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    report = ss.check(network, torch.randn(3, 3, 12, 12))
    reads = {answer.module: answer for answer in report.answers if answer.check == "reads"}
    assert [m for m, a in reads.items() if a.verdict == "FINDING"] == ["4", "5"]
    assert "means of 4 values, in steps of 0.25" in reads["4"].text
    assert "real values that 4 gives" in reads["5"].text
    assert "first layer" in reads["0"].text
    assert "means of 16 values" in reads["10"].text
    assert reads["10"].verdict == "note"
    assert {answer.check for answer in report.findings} == {"reads"}


def test_functions_read_as_modules_do() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = ss.create_neuron("lif")
            self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
            self.second = nn.Parameter(torch.randn(2, 4, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            spikes = self.neuron(nn.functional.conv2d(x, self.weight))
            return nn.functional.conv2d((spikes + x[:, :1, 1:-1, 1:-1]), self.second)

    assert found(Functions(), torch.randn(3, 3, 8, 8)) == {"reads": ["(itself)"]}


def test_silent_and_saturated_neurons_are_found() -> None:
    class Shifted(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: Tensor) -> Tensor:
            return x + self.by

    lif = ss.create_neuron("lif")
    network = nn.Sequential(nn.Linear(4, 8), Shifted(50), lif, Shifted(-50), MultiStepLIF())
    assert found(network, torch.randn(3, 4))["firing"] == ["2", "4"]


def test_training_that_computes_something_else_is_found() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x if self.training else x

    usual = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    assert not found(usual, torch.randn(3, 4))
    assert found(nn.Sequential(usual, Twice()), torch.randn(3, 4)) == {"train and eval": ["1"]}


def test_dropout_that_is_active_in_evaluation_is_found() -> None:
    class AlwaysDropped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5)

    network = nn.Sequential(nn.Linear(4, 9), AlwaysDropped())
    assert found(network, torch.randn(3, 4)) == {"random": ["1"]}


def test_a_foreign_neuron_is_known_by_what_it_does() -> None:
    report = ss.check(clean_network(), (torch.rand(4, 3, 2, 8, 8) < 0.5).float())
    assert "layers of neurons: 2, firing at rates from" in report.table()
    plain = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert "no spiking network" in ss.check(plain, torch.randn(3, 4)).table()


def test_a_neuron_that_hands_its_state_on_is_known_too() -> None:
    class Explicit(nn.Module):
        def forward(self, current: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
            membrane = 0.5 * membrane + current
            spikes = (membrane >= 1).to(membrane) + 0 * membrane
            return spikes, membrane - spikes

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.neuron = nn.Linear(4, 9), Explicit()

        def forward(self, x: Tensor) -> Tensor:
            current = 4 * self.linear(x)
            spikes, membrane = self.neuron(current, torch.zeros_like(current))
            return spikes + self.neuron(current, membrane)[0]

    table = ss.check(Network(), torch.randn(3, 4)).table()
    assert "layers of neurons: 1, firing" in table


def test_layers_that_pythons_generator_drops_are_random_and_no_fault_of_training() -> None:
    class LayerDrop(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x if self.training and random.random() < 0.9 else super().forward(x)

    report = ss.check(LayerDrop(4, 4), torch.randn(3, 4))
    assert "train and eval" not in {answer.check for answer in report.findings}


def test_spikingjelly_without_a_reset_leaves_state() -> None:
    layer = pytest.importorskip("spikingjelly.activation_based.layer")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    network = nn.Sequential(
        layer.Conv2d(2, 8, 3, step_mode="m"),
        neuron.LIFNode(step_mode="m", v_threshold=0.2),
        layer.Conv2d(8, 4, 3, step_mode="m"),
        neuron.IFNode(step_mode="m", v_threshold=0.2),
    )
    events = (torch.rand(4, 3, 2, 8, 8) < 0.5).float()
    assert found(network, events)["state"] == ["1"]
    assert "state" not in found(network, events, reset=True)
    assert not set(found(network, events, reset=True)) & set(_MIXES)
    network(events).sum().backward()  # its states are now part of a graph
    assert "state" not in found(network, events, reset=True)


def test_a_leak_of_a_network_that_answers_per_sample_is_found_along_the_right_axis() -> None:
    class Readout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = fire(SpikingSelfAttention(16, 2, as_released=True))

        def forward(self, x: Tensor) -> Tensor:  # [T, B, 1, 16, 6] to [B, 16]
            return self.block(x[:, :, 0]).mean((0, 3))

    report = ss.check(Readout(), (torch.rand(4, 2, 1, 16, 6) < 0.5).float())
    (answer, *_) = [answer for answer in report.findings if answer.check == "batch"]
    assert answer.module == "block.proj_lif"
    assert answer.text.startswith("the batch is axis 1")


def test_rounding_that_moves_spikes_at_a_tie_is_no_fault_of_training() -> None:
    class Reordered(nn.Module):
        """0.1 + 0.2 + 0.3, which is one number in one order and another in the other."""

        def forward(self, x: Tensor) -> Tensor:
            parts = [0.1 * x, 0.2 * x, 0.3 * x]
            return sum(parts if self.training else parts[::-1]) / (0.1 + 0.2 + 0.3)  # type: ignore[return-value]

    module = nn.Sequential(Reordered(), MultiStepLIF(threshold=0.5, retain=0.0))
    report = ss.check(module.double(), torch.ones(3, 4).double())
    assert "train and eval" not in {answer.check for answer in report.findings}, report.table()
