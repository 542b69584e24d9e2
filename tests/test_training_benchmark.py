"""What benchmarks/train.py and neurons.py compare with computes the same."""

from __future__ import annotations

import json

import pytest
import torch

import spikesight as ss
from tests.benchmark_scripts import load_script


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", ["lif", "i_lif", "ni_lif", "sdt_attention"])
def test_the_authors_neurons_have_our_spikes_and_gradients(name: str, steps: int) -> None:
    neuron = ss.create_neuron(name, steps=steps)
    authors = load_script("authors_style").AuthorsNeuron(neuron)
    generator = torch.Generator().manual_seed(0)
    currents = 2 * torch.randn(steps * 2, 3, 50, dtype=torch.float64, generator=generator)
    cotangent = torch.randn(currents.shape, dtype=torch.float64, generator=generator)
    results = []
    for fire in (neuron, authors):
        x = currents.clone().requires_grad_()
        spikes = fire(x)
        spikes.backward(cotangent)
        assert x.grad is not None
        results.append((spikes.detach(), x.grad))
    (ours, our_gradient), (theirs, their_gradient) = results
    assert ours.any()
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
    torch.testing.assert_close(their_gradient, our_gradient, rtol=0, atol=1e-12)


@pytest.mark.nightly
def test_a_row_is_compared_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    load_script("train").main(["--rows=digits_events_nano", "--rounds=1", "--threads=1", "--json"])
    said = capsys.readouterr().out
    assert "authors_style          gradient in float64 differ by" in said
    (row,) = json.loads(said.splitlines()[-1])["rows"]
    assert list(row["forms"]) == ["ours", "ours_low_memory", "authors_style"]
    assert row["forms"]["ours"]["ours_over_this"] == 1.0


def test_neurons_are_measured_against_copies(capsys: pytest.CaptureFixture[str]) -> None:
    load_script("neurons").main(
        ["--threads=1", "--dtype=float32", "--elements=4096", "--rounds=1", "--json"]
    )
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["case"] for row in rows] == ["i_lif T=1 D=4", "ni_lif T=1 D=4", "lif T=4"]
    assert {"spikesight", "spikesight blocked", "relu"} <= rows[0]["ratios"].keys()
