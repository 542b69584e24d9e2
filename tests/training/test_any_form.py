"""Commands take a model in every form, and need no training data where photos or a card suffice."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.data import DataConfig, EventPreprocessing, Preprocessing
from spikesight.data.segmentation import SceneConfig, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.deployment.network import Deployed
from spikesight.deployment.spk.file import read_spk_card
from spikesight.inference import PanopticRules, ViewConfig
from spikesight.training.runs.card import Card

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
HALVES = (0.5, 0.5, 0.5)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh current folder: an untrained classifier in run/best whose data are gone; photos."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    ss.create_model("metaspikformer_nano", num_classes=2, **SIZES).save_pretrained("run/best")
    data = DataConfig(format="tar", path="gone.tar", image_size=32)
    Card(data, Preprocessing(32, 3, HALVES, HALVES, 1.0, ("cat", "dog")), 1, "model", None).write(
        Path("run/best")
    )
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        Path("photos", name).mkdir(parents=True)
        for number in range(4):
            noise = generator.integers(0, 256, (40, 36, 3), np.uint8)
            Image.fromarray(noise).save(f"photos/{name}/{number}.png")
    return tmp_path


def guesses(*words: str) -> dict[str, dict[str, float]]:
    assert main(["predict", *words, "photos", "--output=g.json", "--device=cpu"]) == 0
    return {
        record["file"]: {guess["class"]: guess["probability"] for guess in record["guesses"]}
        for record in json.loads(Path("g.json").read_text())
    }


def test_a_classifier_in_every_form(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "run"]) == 2
    line = capsys.readouterr().err
    assert "the model's data, gone.tar, are not here; pass --data.path=… with them" in line
    assert "or --photos=FOLDER" in line

    # Without data and photos, the range of pixels calibrates.
    assert main(["deploy", "run", "plain.spk"]) == 0
    assert "--photos=FOLDER with any photos like them" in capsys.readouterr().out
    assert main(["deploy", "run", "net.spk", "--photos=photos"]) == 0
    assert "top-1 on" not in capsys.readouterr().out
    card = json.loads(read_spk_card("net.spk") or "")
    assert card["preprocessing"]["classes"] == ["cat", "dog"]
    assert card["data"] is None  # where training photos lay is nobody's business

    expected = guesses("run")
    assert len(expected) == 8
    for form in ("net.spk", "plain.spk"):
        for file, shares in guesses(form).items():
            assert shares == pytest.approx(expected[file], abs=0.02)

    data = ["--data.format=folder", "--data.path=photos", "--split=all"]
    for form in ("val", "energy"):
        assert main([form, "net.spk"]) == 2
        assert "does not say where images are" in capsys.readouterr().err
    for form in ("run", "net.spk"):
        assert main(["val", form, *data]) == 0
        assert "on 8 images" in capsys.readouterr().out
        for command in ("verify", "energy", "audit"):
            assert main([command, form, "--photos=photos", "--images=4"]) == 0
            assert main([command, form, *data, "--images=4"]) == 0
    with torch.no_grad():
        reread = Deployed.load("net.spk")
        reread.save("again.spk")
    assert Path("again.spk").read_bytes() == Path("net.spk").read_bytes()


def test_what_a_file_does_not_say_comes_from_a_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ss.load("run/best")
    model.save_pretrained("bare")
    (here / "bare" / "run.json").unlink()
    ss.deploy(model, torch.rand(2, 3, 32, 32)).save("old.spk")
    assert read_spk_card("old.spk") is None
    for form, message in (
        ("old.spk", "old.spk holds no images and does not say how they are prepared; pass --run"),
        ("bare", "bare has no run.json, which says how images are prepared; pass --run=FOLDER"),
    ):
        for words in (["predict", form, "photos"], ["val", form], ["energy", form]):
            assert main(words) == 2
            assert message in capsys.readouterr().err
        assert guesses(form, "--run=run").keys() == guesses("run").keys()
        assert main(["energy", form, "--run=run", "--photos=photos/cat/0.png"]) == 0


def test_a_segmenter_in_every_form(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("run")
    ss.create_model("spike2former_nano", num_classes=3).save_pretrained("run/best")
    table = table_of(("ground", "ball", "wall"), (1,))
    preprocessing = ScenePreprocessing(HALVES, HALVES, (64, 64), None, table)
    view = ViewConfig(panoptic=PanopticRules(0.0, 0.0))
    data = SceneConfig(format="camvid", path="gone")
    Card(data, preprocessing, 1, "model", None, "panoptic", view=view).write(Path("run/best"))
    assert main(["deploy", "run", "net.spk", "--photos=photos", "--images=4"]) == 0
    assert main(["predict", "net.spk", "photos", "--output=out", "--table=s.csv"]) == 0
    Image.new("RGB", (100, 70)).save("large.png")
    capsys.readouterr()
    assert main(["predict", "net.spk", "large.png", "--output=out2"]) == 2
    line = capsys.readouterr().err
    assert "large.png: an input of 80x112 pixels is larger than the 64x64" in line
    assert "--max-size=[80,112]" in line
    assert len(list(Path("out").glob("*_overlay.png"))) == 8
    with open("s.csv", newline="", encoding="utf-8") as file:
        assert {row["class"] for row in csv.DictReader(file)} <= {"ground", "ball", "wall"}
    capsys.readouterr()
    assert main(["val", "net.spk"]) == 2
    assert "--run=FOLDER" in capsys.readouterr().err
    assert main(["val", "net.spk", "--run=run"]) == 2
    assert "data, gone, are not here; pass --data.path" in capsys.readouterr().err
    assert main(["predict", "gone.spk", "photos"]) == 2
    assert "there is no file gone.spk" in capsys.readouterr().err
    for command in (["bench", "run"], ["export", "run", "net.onnx"]):
        assert main(command) == 2
        assert "spikesight deploy run net.spk" in capsys.readouterr().err


def test_a_model_of_events_without_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=2, in_channels=2, steps=2, **SIZES)
    for largest in (127, 200):
        folder = Path(f"events{largest}")
        model.save_pretrained(folder)
        preprocessing = EventPreprocessing(32, 2, 2, max_count=largest, classes=("x", "y"))
        data = DataConfig(format="event_folders", path="gone", channels=2)
        Card(data, preprocessing, 1, "model", None).write(folder)
    assert main(["deploy", "events127", "net.spk"]) == 0
    events = ss.Events(np.arange(9), np.arange(9), np.arange(9), np.ones(9, bool), 32, 32)
    frames = ss.event_frames(events, frames=2)
    net = Deployed.load("net.spk")
    with torch.no_grad():
        real = ss.load("events127")(frames)
    assert torch.allclose(net(frames).float() * net.scale, real, atol=0.05)
    capsys.readouterr()
    assert main(["deploy", "events200", "net.spk"]) == 2
    assert "needs real recordings; pass --data.path" in capsys.readouterr().err
