"""The models of this library keep samples and steps apart and hold no state."""

from __future__ import annotations

import pytest
import torch

import spikesight as ss
from tests.registered_models import NANO, SEGMENTERS, without

_CLASSIFIERS = without(NANO, SEGMENTERS)
# SpikingResformer's classifier has no neuron before it, as its authors built it.
_READ_CURRENTS = {"spikingresformer_nano": {"head.linear"}}


@pytest.mark.parametrize("name", _CLASSIFIERS)
def test_no_classifier_leaks_or_keeps_state(name: str) -> None:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=5, steps=2)
    report = ss.check(model, torch.randn(2, 3, 32, 32))
    checks = {answer.check for answer in report.findings}
    assert not checks - {"firing", "gradient", "reads"}, report.table()
    read = {answer.module for answer in report.findings if answer.check == "reads"}
    assert read == _READ_CURRENTS.get(name, set()), report.table()
    examined = {answer.check: answer.verdict for answer in report.answers}
    assert examined["batch"] == examined["state"] == examined["train and eval"] == "clean"


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(set(NANO) - set(_CLASSIFIERS)))
def test_no_other_model_leaks_or_keeps_state(name: str) -> None:
    torch.manual_seed(0)
    report = ss.check(ss.create_model(name, num_classes=5), torch.randn(2, 3, 32, 32))
    checks = {answer.check for answer in report.findings}
    assert not checks - {"firing", "gradient"}, report.table()


def test_frames_of_events_are_taken_batch_first() -> None:
    torch.manual_seed(0)
    model = ss.create_model("spikformer_nano", num_classes=5, in_channels=2, steps=2)
    report = ss.check(model, (torch.rand(3, 2, 2, 32, 32) < 0.3).float(), axes="BT")
    assert not {a.check for a in report.findings} & {"batch", "axes", "state"}, report.table()


def test_the_ann_twin_is_no_spiking_network() -> None:
    twin = ss.create_model("spikformer_nano", num_classes=5, neuron="relu")
    table = ss.check(twin, torch.randn(2, 3, 32, 32)).table()
    assert "this is no spiking network" in table


def test_the_leaking_option_of_qkformer_is_found_at_the_neuron_that_leaks() -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="batch"):
        model = ss.create_model("qkformer_nano", num_classes=5, steps=4, official="leaking")
    report = ss.check(model, torch.randn(2, 3, 32, 32))
    named = [(answer.check, answer.module) for answer in report.findings]
    assert ("batch", "trunk.2.1.attention.project_neuron.neuron") in named, report.table()
