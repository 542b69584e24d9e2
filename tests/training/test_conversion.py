"""A trained twin becomes a run folder of spiking neurons, which every command knows."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.inference.agreement import agreement
from spikesight.segmentation_outputs import PixelSegmentation
from spikesight.training import Card, TrainConfig, train
from spikesight.training.runs.folder import resolve_model_folder

Build = Callable[..., TrainConfig]


def run(words: list[str]) -> None:
    assert main(words) == 0


def test_a_twin_becomes_a_folder_that_every_command_knows(
    tiny: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny("twin", model__neuron="relu", epochs=5))
    twin, spiking = str(tmp_path / "twin"), tmp_path / "spiking"
    run(["convert-ann", twin, str(spiking), "--levels=6", "--images=64"])
    said = capsys.readouterr().out
    assert "validation images" in said
    assert "same class" in said
    assert {path.name for path in spiking.iterdir()} == {
        *("model.safetensors", "config.json", "config.yaml", "run.json"),
        *("thresholds.csv", "conversion.txt"),
    }
    assert (spiking / "conversion.txt").read_text() in said
    rows = list(csv.DictReader((spiking / "thresholds.csv").read_text().splitlines()))
    model = ss.load(spiking)
    for row in rows:
        neuron = model.get_submodule(row["neuron"])
        assert float(row["threshold"]) == neuron.threshold
        assert neuron.levels == 6
    metrics = Card.read(spiking).metrics
    assert metrics is not None
    run(["val", str(spiking)])
    assert metrics.headline() in capsys.readouterr().out
    run(["verify", str(spiking), "--images=4"])
    run(["deploy", str(spiking), str(tmp_path / "net.spk"), "--images=32"])
    run(["verify", str(tmp_path / "net.spk"), f"--run={spiking}", "--images=4",
          "--against=spikes,native,onnx"])  # fmt: skip
    # Again in the same place, then with fewer levels.
    run(["convert-ann", twin, str(spiking), "--images=64", "--accuracy=false"])
    run(["convert-ann", str(spiking), str(tmp_path / "fewer"), "--levels=2", "--images=64"])
    assert ss.load(tmp_path / "fewer").recipe["arguments"]["levels"] == 2
    assert main(["convert-ann", twin, f"{twin}/best"]) == 2
    assert "what is read" in capsys.readouterr().err


def test_a_short_training_goes_on_beside_the_twin(tiny: Build, tmp_path: Path) -> None:
    mixed = {"mix__cutmix": 1.0, "mix__off_epochs": 3}
    train(tiny("twin", model__neuron="relu", epochs=5, **mixed))
    twin, spiking = str(tmp_path / "twin"), tmp_path / "spiking"
    run(["convert-ann", twin, str(spiking), "--images=64", "--accuracy=false", "--share=0.4"])
    config = TrainConfig.load(spiking / "config.yaml")
    assert (config.epochs, config.mix.off_epochs) == (2, 1)
    assert config.distillation.teacher == str(tmp_path / "twin" / "best")
    assert config.model.weights == str(spiking)
    run(["train", str(spiking / "config.yaml")])
    tuned = ss.load(resolve_model_folder(tmp_path / "spiking_tuned" / "last"))
    before = ss.load(spiking)
    moved = [
        name
        for name, tensor in tuned.state_dict().items()
        if name.endswith(".scale") and not torch.equal(tensor, before.state_dict()[name])
    ]
    assert moved
    x = torch.rand(4, 1, 8, 8)
    assert ss.verify(tuned, x).mismatches == 0


def test_agreement_counts_images_or_pixels() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    batches = [torch.zeros(2, 1, 4, 4)]
    assert agreement(lambda _: logits, lambda _: logits.flip(0), batches) == 0
    assert agreement(lambda _: logits, lambda _: logits[:1].expand(2, 2), batches) == 0.5
    maps = PixelSegmentation(torch.rand(2, 3, 4, 4))
    assert agreement(lambda _: maps, lambda _: maps, batches) == 1
    assert agreement(lambda _: {}, lambda _: {}, batches) is None
