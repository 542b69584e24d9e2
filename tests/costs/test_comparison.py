"""A network beside its rivals: sums, tables, files, the page and the command."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.costs.comparison import write_comparisons
from spikesight.costs.cost_models import COST_KINDS, COST_MODELS
from spikesight.costs.firing_maps import firing_maps
from spikesight.costs.trade_off import Measured, best_under, trade_off_section, trade_off_table
from tests.costs.test_work import awake


@pytest.mark.parametrize("key", COST_MODELS)
def test_sums_are_those_of_the_layers(key: str) -> None:
    model, x = awake("metaspikformer_nano", levels=4)
    comparison = ss.energy(ss.deploy(model, x), x).under(key)
    for form in comparison.forms:
        layers = [layer.costs[form.key] for layer in comparison.layers]
        assert comparison.picojoules(form.key) == pytest.approx(sum(float(c.total) for c in layers))
    said = comparison.to_dict()
    assert said["total_pj"] == {
        form.key: comparison.picojoules(form.key) for form in comparison.forms
    }
    assert comparison.spread("fp32") == 0  # the same for every photo
    assert comparison.spread("spikes") > 0
    assert comparison.model.source in comparison.summary()
    assert comparison.table().count("\n") > len(comparison.layers)


def test_the_papers_convention_is_the_energy_report() -> None:
    model, x = awake("metaspikformer_nano")
    report = ss.energy(model, x)
    comparison = report.under("paper")
    assert comparison.picojoules("spikes") == pytest.approx(report.picojoules)
    assert [form.key for form in comparison.forms] == ["spikes", "fp32"]


def test_silence_costs_no_messages() -> None:
    model, x = awake("metaspikformer_nano")
    dark = ss.energy(model, torch.full_like(x, -50.0))
    comparison = dark.under("movement")
    for layer in comparison.layers:
        if layer.work.reads_counts and not float(layer.work.spikes.sum()):
            assert float(layer.costs["spikes"].total) == 0
            assert float(layer.costs["dense"].total) > 0


def test_a_twin_has_no_spikes() -> None:
    model, x = awake("metaspikformer_nano", neuron="relu")
    report = ss.energy(model, x)
    assert report.neurons == ()
    comparison = report.under("memory")
    assert [form.key for form in comparison.forms] == ["int8", "fp32"]
    assert all(layer.break_even is None for layer in comparison.layers)


def test_neurons_that_are_silent_and_full() -> None:
    model, x = awake("metaspikformer_nano")
    norms = {name: m for name, m in model.named_modules() if name.endswith("conv.norm")}
    norm = next(m for name, m in norms.items() if name.startswith("trunk.1.0"))
    norm.bias.data[:16] = -1000.0
    norm.bias.data[16:24] = 1000.0
    first = next(n for n in ss.energy(model, x).neurons if n.name == "trunk.1.1.separable.neuron1")
    channels = len(norm.bias)
    assert first.silent >= 16 / channels
    assert first.saturated >= 8 / channels


def test_files(tmp_path: Path) -> None:
    model, x = awake("metaspikformer_nano")
    report = ss.energy(model, x)
    comparisons = [report.under(key) for key in ("paper", "memory")]
    write_comparisons(comparisons, tmp_path / "e.json")
    read = json.loads((tmp_path / "e.json").read_text())
    assert [one["model"]["key"] for one in read] == ["paper", "memory"]
    write_comparisons(comparisons, tmp_path / "e.csv")
    with (tmp_path / "e.csv").open() as file:
        rows = list(csv.DictReader(file))
    for comparison in comparisons:
        for form in comparison.forms:
            own = [r for r in rows if (r["model"], r["form"]) == (comparison.model.key, form.key)]
            total = sum(float(row[kind]) for row in own for kind in COST_KINDS)
            assert total == pytest.approx(comparison.picojoules(form.key))


def test_maps_of_integers_are_those_of_the_model() -> None:
    model, x = awake("metaspikformer_nano")
    net = ss.deploy(model, x)
    floats, integers = firing_maps(model, x[:1]), firing_maps(net, x[:1])
    assert floats.rates.keys() == integers.rates.keys()
    assert floats.photo.shape == (3, 32, 32)
    for rate in integers.rates.values():
        assert 0 <= float(rate.min()) <= float(rate.max()) <= 1
    frames = torch.rand(1, 2, 2, 32, 32, dtype=torch.float64)
    events = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=2, steps=2).double()
    assert firing_maps(events.eval(), frames).photo.shape == (1, 32, 32)


def test_the_page_shows_rivals_and_maps(tmp_path: Path) -> None:
    model, x = awake("spike_fpn_nano")
    report = ss.energy(model, x)
    report.to_html(tmp_path / "e.html", firing_maps(model, x[:1]))
    page = (tmp_path / "e.html").read_text()
    for model_of_cost in ("integer", "memory", "movement"):
        assert f"Energy under {COST_MODELS[model_of_cost].title}" in page
    assert "Silent and saturated neurons" in page
    assert "Where neurons fire on one photo" in page
    assert page.count("data:image/png") > 5
    outside = (part for part in page.split('"') if "base64" not in part)
    assert not any(re.search(r"\bnan\b", part) for part in outside)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x = awake("metaspikformer_nano")
    ss.deploy(model.float(), x.float()).save(tmp_path / "net.spk")
    assert main(["energy", str(tmp_path / "net.spk"), "--prices=joules"]) == 2
    assert "there are no prices 'joules'" in capsys.readouterr().err
    assert main(["energy", str(tmp_path / "net.spk"), f"--output={tmp_path}/e.xls"]) == 2
    assert ".json, .csv" in capsys.readouterr().err


def test_accuracy_against_energy() -> None:
    model, x = awake("metaspikformer_nano")
    reports = [ss.energy(model, part) for part in (x, torch.full_like(x, -50.0))]
    dark, loud = sorted(reports, key=lambda r: r.under("memory").picojoules("spikes"))
    quiet_and_good = Measured("both", "top1", 90.0, dark)
    worse = Measured("neither", "top1", 80.0, loud)
    assert best_under([worse, quiet_and_good], "memory", "spikes") == [quiet_and_good]
    dearer = Measured("dearer", "top1", 95.0, loud)
    best = best_under([dearer, quiet_and_good, worse], "memory", "spikes")
    assert [network.name for network in best] == ["both", "dearer"]
    table = trade_off_table([dearer, quiet_and_good, worse])
    (line,) = (line for line in table.splitlines() if line.startswith("neither"))
    assert "*" not in line
    section = trade_off_section([dearer, quiet_and_good, worse])
    assert section.count("<svg") == 3
