"""Converted models know how photos are prepared and what their classes are called."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.training.runs.card import Card
from tests.interop.test_tensors_without_a_place import OfficialState

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh current folder with a saved model of three classes and photos of two each."""
    monkeypatch.chdir(tmp_path)
    ss.create_model("metaspikformer_nano", num_classes=3, **SIZES).save_pretrained("bare")
    Path("names.txt").write_text("\ufeffcat\r\ndog [old]\r\ncow\r\n", encoding="utf-8")
    for name in ("cat", "dog [old]", "cow"):
        Path("photos", name).mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(0, 256, (40, 36, 3), np.uint8)
            Image.fromarray(noise).save(f"photos/{name}/{number}.png")
    return tmp_path


def test_a_bare_model_becomes_usable(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "bare", "photos"]) == 2
    words = ["convert", "bare", "out", "--classes=names.txt", "--image_size=32"]
    assert main([*words, "--crop-fraction=0.875"]) == 0
    card = Card.read(Path("out"))
    assert card.data is None
    assert card.preprocessing.classes == ("cat", "dog [old]", "cow")
    assert card.preprocessing.mean == (0.485, 0.456, 0.406)
    assert main(["predict", "out", "photos", "--output=g.csv", "--device=cpu"]) == 0
    capsys.readouterr()
    assert main(["val", "out"]) == 2
    assert "or --data.path=FOLDER with one folder of photos" in capsys.readouterr().err
    assert main(["val", "out", "--data.path=photos", "--split=all"]) == 0
    assert "on 6 images" in capsys.readouterr().out
    words = ["--data.path=photos", "--split=all"]
    assert main(["deploy", "out", "net.spk", *words]) == 0
    assert main(["energy", "out", *words]) == 0
    assert main(["convert", "out", "yaml", "--classes=[no,'1',2020-01-01]"]) == 0
    assert Card.read(Path("yaml")).preprocessing.classes == ("no", "1", "2020-01-01")
    # Names can be changed later, and nothing else is.
    assert main(["convert", "out", "renamed", "--classes=[a,b,c]", "--half"]) == 0
    renamed = Card.read(Path("renamed")).preprocessing
    assert renamed.classes == ("a", "b", "c")
    assert renamed.crop_fraction == 0.875


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes=[a,b]"], "classes has 2 names but the model 3 classes"),
        (["--classes=nowhere.txt"], "there is no file nowhere.txt; pass a text file"),
        (["--classes=[a,a,b]"], "'a' is there twice"),
        (["--classes=[a,b,c]"], "image_size is missing"),
        (["--image_size=32", "--mean=[120,110,100]"], "mean"),
        (["--image_size=32", "--mean=[0.5]", "--std=[0.5]"], "preprocessing.mean has 1 values"),
        (["--image_size=[32,64]"], "pass one number"),
        (["--things=[a]"], "is a classifier"),
        (["--image_size=0"], "image_size"),
        (["--image_size=32", "--crop-fraction=2"], "crop_fraction"),
        (["--entry=model"], "pass --family too"),
    ],
)
def test_descriptions_that_do_not_fit(
    words: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "bare", "out", *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_segmenter_is_described(here: Path) -> None:
    ss.create_model("spike2former_nano", num_classes=3).save_pretrained("segmenter")
    words = ["convert", "segmenter", "out", "--classes=names.txt", "--image_size=[32,64]"]
    assert main(words) == 0
    card = Card.read(Path("out"))
    assert (card.task, card.preprocessing.crop_size) == ("semantic", (32, 64))
    assert main(["predict", "out", "photos", "--output=s.csv", "--device=cpu"]) == 0
    assert main([*words, "--things=[cat,cow]"]) == 0
    card = Card.read(Path("out"))
    assert (card.task, card.preprocessing.table.things) == ("panoptic", (0, 2))


def test_an_authors_checkpoint_predicts(here: Path) -> None:
    official = OfficialState()
    state = {f"module._orig_mod.{n}": t for n, t in official.items()}
    arguments = argparse.Namespace(lr=np.float64(0.1))
    torch.save({"model_ema": state, "args": arguments}, "authors.pth")
    model = ss.load_official("metaspikformer", official, steps=4)
    classes = model.recipe["arguments"]["num_classes"]
    Path("names.txt").write_text("\n".join(f"class {n}" for n in range(classes)))
    words = ["convert", "authors.pth", "out", "--family=metaspikformer", "--configuration.steps=4"]
    assert main([*words, "--classes=names.txt", "--image_size=32"]) == 0
    assert main(["predict", "out", "photos", "--output=g.json", "--device=cpu"]) == 0
    guesses = json.loads(Path("g.json").read_text())
    assert guesses[0]["guesses"][0]["class"].startswith("class ")
