"""The demo, with narrow models and four epochs each; at its full size by night."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import spikesight
from spikesight.commands.parser import main
from spikesight.demo import job as demo_module
from spikesight.demo.job import DemoResult, demo
from spikesight.demo.scenes import WEIGHTS
from spikesight.training import TrainConfig
from spikesight.training.tasks.validation import validate
from tests.reports.reading import assert_self_contained

NARROW = {"widths": (8, 8, 16, 16, 16)}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    torch.set_num_threads(1)
    full = demo_module._config

    def narrow(folder: Path, neuron: str, epochs: int, seed: int) -> TrainConfig:
        config = full(folder, neuron, epochs, seed)
        return replace(config, model=replace(config.model, arguments=NARROW))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "_config", narrow)
        return demo(tmp_path_factory.mktemp("demo") / "out", epochs=4)


def test_figures_are_those_of_the_trained_models(result: DemoResult) -> None:
    spiking = validate(result.folder / "run" / "last")
    twin = validate(result.folder / "twin" / "last")
    assert result.images == spiking.images == 359
    assert result.accuracy == pytest.approx(spiking.top1)
    assert result.twin_accuracy == pytest.approx(twin.top1)


def test_counts_are_spikes(result: DemoResult) -> None:
    assert result.verification.mismatches == 0
    assert result.verification.dtype == torch.float64
    assert result.verification.silent == []


def test_the_integer_network_is_the_same_spikes(result: DemoResult) -> None:
    deployment = result.deployment
    assert deployment.comparison.equal
    assert deployment.comparison.samples == result.images
    assert deployment.spike_driven
    assert deployment.size == (result.folder / "digits.spk").stat().st_size
    assert abs(deployment.accuracy - result.accuracy) < 3


def test_four_bits_are_smaller_and_the_same_spikes(result: DemoResult) -> None:
    low_bit = result.low_bit
    assert low_bit.mismatches == 0
    assert low_bit.size == (result.folder / "digits4.spk").stat().st_size
    assert low_bit.eight_bit_size == result.deployment.size
    assert low_bit.size < low_bit.eight_bit_size < low_bit.trained_size
    assert abs(low_bit.accuracy - result.accuracy) < 10
    text = result.report.read_text(encoding="utf-8")
    assert f"{low_bit.trained_size:,} for the trained weights" in text
    assert f"{low_bit.size:,} at 4" in text
    figures = json.loads((result.folder / "demo.json").read_text())
    assert figures["low_bit_bytes"] == low_bit.size


def test_digits_are_found_in_scenes(result: DemoResult) -> None:
    scenes = result.scenes
    assert scenes.comparison.equal
    assert scenes.comparison.silent == []
    assert scenes.panoptic_quality >= 50
    assert scenes.miou >= 50
    assert scenes.bits == 4
    assert scenes.size == (WEIGHTS / "model.safetensors").stat().st_size <= 1_000_000
    text = result.report.read_text(encoding="utf-8")
    assert f"panoptic quality {scenes.panoptic_quality:.1f} %" in text
    assert text.count("predicted objects of scene") == len(scenes.pictures) == 4
    figures = json.loads((result.folder / "demo.json").read_text())
    assert figures["scene_pq"] == scenes.panoptic_quality


def test_the_twin_differs_in_its_neurons_alone(result: DemoResult) -> None:
    configs = [TrainConfig.load(result.folder / n / "config.yaml") for n in ("run", "twin")]
    spiking, twin = (config.to_mapping() for config in configs)
    assert (spiking["model"].pop("neuron"), twin["model"].pop("neuron")) == ("i_lif", "relu")
    for mapping in (spiking, twin):
        del mapping["output"], mapping["model"]["levels"]
    assert spiking == twin

    measured = spikesight.energy(
        spikesight.load(result.folder / "twin" / "last"), torch.zeros(1, 1, 16, 16)
    )
    assert result.energy.twin_picojoules == pytest.approx(measured.picojoules)
    assert result.energy.samples == result.images


def test_the_page_is_whole(result: DemoResult) -> None:
    html = result.report.read_text(encoding="utf-8")
    reader = assert_self_contained(html)
    text = reader.text
    assert f"{result.accuracy:.1f} %" in text
    assert f"{result.twin_accuracy:.1f} %" in text
    assert "1,438 handwritten digits" in text
    mistakes = result.images - round(result.accuracy * result.images / 100)
    assert html.count('class="digit wrong"') == mistakes
    assert f"Its {mistakes} mistakes come first" in text
    for layer in result.energy.layers:
        assert layer.name in text
    for check in result.verification.layers:
        assert check.name in text
    for word in ("Not counted", "Not spike-driven: trunk.0.0.conv", "Seed", torch.__version__):
        assert word in text
    assert len(html) < 1_000_000


def test_figures_are_there_for_machines(result: DemoResult) -> None:
    figures = json.loads((result.folder / "demo.json").read_text())
    assert figures["accuracy"] == result.accuracy
    assert figures["mismatches"] == 0


class ReachedTrainingError(Exception):
    pass


def stop(config: TrainConfig) -> None:
    raise ReachedTrainingError


def test_an_earlier_demo_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "train", stop)
    folder = tmp_path / "new" / "out"
    with pytest.raises(ReachedTrainingError):
        demo(folder)
    for name in ("run", "twin"):
        (folder / name / "last").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("")
    (folder / "twin" / "last").rmdir()
    (folder / "twin").rmdir()
    (folder / "twin").symlink_to(elsewhere)
    (folder / "report.html").write_text("old")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ReachedTrainingError):
        demo(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["demo.json", "notes.txt"]
    assert (elsewhere / "kept").exists()


@pytest.mark.parametrize("mark", [None, "{}", "[]", "no json", '{"command": "other"}'])
def test_what_is_no_demo_is_left_alone(tmp_path: Path, mark: str | None) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis").write_text("years of work")
    if mark is not None:
        (tmp_path / "demo.json").write_text(mark)
    with pytest.raises(ValueError, match=r"something else than an earlier demo .*; pass another"):
        demo(tmp_path)
    assert (tmp_path / "run" / "thesis").read_text() == "years of work"


def test_mistakes_in_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(["demo", f"--output={file}"]) == 2
    assert "is a file; pass a folder" in capsys.readouterr().err
    assert main(["demo", f"--output={tmp_path / 'out'}", "--epochs=0"]) == 2
    assert "epochs is 0; pass 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_reads_well(tmp_path: Path, seed: int) -> None:
    result = demo(tmp_path / "out", seed=seed)
    assert result.accuracy >= 97
    assert abs(result.accuracy - result.twin_accuracy) <= 1
    assert result.verification.mismatches == 0
