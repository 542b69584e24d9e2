"""An exported file answers by itself, in any folder, as the network that it was written from."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.commands.parser import main
from spikesight.data import Preprocessing
from spikesight.data.detection import ObjectPreprocessing
from spikesight.data.segmentation import ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.inference import DetectionConfig, ViewConfig
from spikesight.training.runs.card import Card
from tests.conftest import wake

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")

SIZES = {"widths": [4, 4, 8, 8, 8], "depths": [0, 1, 0, 1, 0], "heads": 2, "mlp_ratio": 1}
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
FORMS = (("net.onnx", False), ("net.xml", False), ("photo.onnx", True), ("photo.xml", True))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh current folder with photos."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    Path("photos").mkdir()
    for number in range(2):
        noise = generator.integers(0, 256, (40, 36, 3), np.uint8)
        Image.fromarray(noise).save(f"photos/{number}.png")
    return tmp_path


def deploy(model: Any, card: Card, size: int) -> ss.Deployed:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    net = ss.deploy(wake(model, x), x)
    net.card = card.text()
    net.save("net.spk")
    return net


def classifier() -> ss.Deployed:
    model = ss.create_model("metaspikformer_nano", num_classes=2, **SIZES)
    steps = Preprocessing(32, 3, MEAN, STD, 0.875, ("cat", "dög"))
    return deploy(model, Card(None, steps, 1, "model", None, licence="CC-BY-4.0"), 32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier's .onnx file."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        classifier().export("net.onnx")
    return folder / "net.onnx"


def moved(path: str) -> str:
    """The file alone in an empty folder, with what it cannot be without."""
    folder = Path(f"alone_{Path(path).name}")
    folder.mkdir()
    shutil.copy(path, folder)
    if path.endswith(".xml"):
        shutil.copy(Path(path).with_suffix(".bin"), folder)
    return str(folder / Path(path).name)


def answer(model: str, *words: str) -> Any:
    assert main(["predict", model, "photos", "--output=table.json", "--device=cpu", *words]) == 0
    return json.loads(Path("table.json").read_text())


def test_a_classifier_says_the_same_in_every_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier()
    expected = answer("net.spk")
    assert {guess["class"] for guess in expected[0]["guesses"]} == {"cat", "dög"}
    for name, photos in FORMS:
        words = ["--photo-input=true"] if photos else []
        assert main(["export", "net.spk", name, *words]) == 0
        assert f"described in {name}.json" in capsys.readouterr().out
        assert answer(moved(name)) == expected
        runtime = "onnxruntime" if name.endswith(".onnx") else "OpenVINO"
        assert f"integers by {runtime}" in capsys.readouterr().out
    [guess, *_] = ss.pipeline("net.onnx")("photos/0.png")
    assert guess["label"] == expected[0]["guesses"][0]["class"]


def test_what_the_files_say_of_themselves(here: Path) -> None:
    net = classifier()
    for name in ("net.onnx", "net.xml", "net.c"):
        net.export(name)
    said = {name: json.loads(Path(f"{name}.json").read_text()) for name in FORMS_BESIDE}
    of_onnx = said["net.onnx"]
    assert of_onnx["task"] == "classification"
    assert of_onnx["licence"] == "CC-BY-4.0"
    assert of_onnx["preprocessing"]["classes"] == ["cat", "dög"]
    assert of_onnx["preprocessing"]["mean"] == list(MEAN)
    assert of_onnx["input"] == {
        "channel_order": "RGB",
        "size": [32, 32],
        "resize": "the shorter side to 37 pixels",
        "interpolation": "bicubic, antialiased (Pillow's)",
        "crop": "the centre",
        "values": "(byte / 255 - mean) / std",
    }
    network = of_onnx["network"]
    assert network["spikesight"] == ss.__version__
    assert (network["T"], network["D"]) == (1, [4])
    assert network["outputs"] == [{"name": "logits", "dtype": "int32", "scale": net.scale}]
    assert network["input"]["shape"] == [None, 3, 32, 32]
    assert said["net.c"]["network"]["input"]["layout"] == "HWC"
    assert len({content["network"]["sha256"] for content in said.values()}) == 1
    for name, content in said.items():
        assert name in content["files"]
        for file, checksum in content["files"].items():
            assert checksum == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert "net.bin" in said["net.xml"]["files"]

    del of_onnx["files"]
    metadata = {p.key: p.value for p in onnx.load("net.onnx").metadata_props}
    assert json.loads(metadata["card"]) == of_onnx
    assert float(metadata["scale"]) == net.scale
    rt_info = openvino.Core().read_model("net.xml").get_rt_info(["spikesight", "card"])
    assert json.loads(rt_info.astype(str))["network"] == network
    from spikesight.deployment.spk.file import read_spk_card

    of_spk = json.loads(read_spk_card("net.spk") or "")
    assert of_spk["network"]["sha256"] == network["sha256"]
    assert of_spk["input"] == of_onnx["input"]
    assert Card.read(Path("net.onnx")) == Card.read(Path("net.spk"))


FORMS_BESIDE = ("net.onnx", "net.xml", "net.c")


def test_a_segmenter_of_one_size(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(("ground", "ball", "wall"), things=(1,))
    steps = ScenePreprocessing(MEAN, STD, (32, 32), None, table)
    model = ss.create_model("spike_fpn_nano", num_classes=3)
    net = deploy(model, Card(None, steps, 1, "model", None, "semantic", view=ViewConfig()), 32)
    net.export("net.onnx")
    file = moved("net.onnx")
    assert main(["predict", file, "photos", "--output=out"]) == 2
    line = capsys.readouterr().err
    assert "net.onnx takes 32x32 pixels and no other size" in line
    assert "--view.mode=slide" in line
    slide = "--view.mode=slide"
    assert answer(file, slide) == answer("net.spk", slide)


def test_a_detector(here: Path) -> None:
    table = table_of(("ball", "box"), things=(0, 1))
    steps = ObjectPreprocessing(MEAN, STD, (32, 32), table)
    model = ss.create_model("spike_det_nano", num_classes=2)
    card = Card(None, steps, 1, "model", None, "detection", view=DetectionConfig())
    net = deploy(model, card, 32)
    words = ("--view.score_threshold=0.001", "--view.shown_score=0.001")
    expected = answer("net.spk", *words)
    assert expected
    net.export("net.onnx", photo_input=True)
    net.export("net.xml")
    for name in ("net.onnx", "net.xml"):
        assert answer(moved(name), *words) == expected


def spoil(path: str, key: str, change: Any) -> None:
    """Changes what an ONNX file says under a key; removes it if None."""
    model = onnx.load(path)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    kept[key] = change(kept[key])
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {k: v for k, v in kept.items() if v is not None})
    onnx.save(model, path)


def put(place: str, value: Any) -> Any:
    """Sets a field of a card."""

    def change(text: str) -> str:
        card = json.loads(text)
        *parents, last = place.split(".")
        holder = card
        for parent in parents:
            holder = holder[parent]
        holder[last] = value
        return json.dumps(card)

    return change


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("scale", lambda _: "x", "scale: is 'x', where a positive number belongs"),
        ("scale", lambda _: "-1", "scale: is '-1'"),
        ("scale", lambda _: "inf", "scale: is 'inf'"),
        ("scale", lambda _: None, "scale: is missing"),
        ("card", lambda _: "{", "is no JSON"),
        ("card", lambda _: "[]", "expected fields with values"),
        ("card", lambda _: None, "does not say how they are prepared; pass --run"),
        ("card", put("network.stride", 5), "network.stride: 5 does not divide 32x32 pixels"),
        ("card", put("network.stride", 0), "network.stride: expected a whole number >= 1"),
        ("card", put("network", 3), "network: expected fields with values"),
        ("card", put("preprocessing.mean", [0.5, "x", 1]), "preprocessing.mean[1]: expected"),
        ("card", put("preprocessing.image_size", 2**40), "preprocessing.image_size: expected"),
        ("card", put("preprocessing.image_size", 64), "takes 32x32 pixels and no other size"),
        ("card", put("licence", "x" * 300), "licence: expected"),
        ("card", put("task", "x"), "task: 'x' is none of"),
        ("self_test", lambda _: "{}", "the self-test in net.onnx is damaged"),
    ],
)
def test_what_a_strangers_file_says_is_checked(
    key: str,
    change: Any,
    message: str,
    here: Path,
    exported: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(exported, "net.onnx")
    spoil("net.onnx", key, change)
    assert main(["predict", "net.onnx", "photos", "--output=g.csv"]) == 2
    assert message in capsys.readouterr().err


def test_a_card_written_by_hand_need_not_know_the_training(here: Path) -> None:
    net = classifier()
    wanted = answer("net.spk")
    net.card = json.dumps({"preprocessing": json.loads(net.card)["preprocessing"]})
    net.save("by_hand.spk")
    net.export("by_hand.onnx")
    for file in ("by_hand.spk", "by_hand.onnx"):
        assert answer(moved(file)) == wanted


def test_files_that_are_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.onnx").write_text("no model")
    Path("text.xml").write_text("<!DOCTYPE net [<!ENTITY a 'b'>]><net/>")
    Path("text.bin").write_text("")
    Path("other.xml").write_text("<net/>")
    Path("net.c").write_text("")
    Path("folder.onnx").mkdir()
    for name, message in (
        ("text.onnx", "text.onnx: is no ONNX model"),
        ("text.xml", "text.xml: has a document type definition"),
        ("other.xml", "other.bin: cannot be read"),
        ("gone.onnx", "there is no file gone.onnx"),
        ("net.c", "net.c has no runtime here; pass the .spk file"),
        ("folder.onnx", "there is no trained model in folder.onnx"),
    ):
        assert main(["predict", name, "photos", "--output=g.csv"]) == 2
        assert message in capsys.readouterr().err
    Path("net.onnx").write_text("")
    assert main(["bench", "net.onnx"]) == 2
    assert "net.onnx is an export; pass the .spk file" in capsys.readouterr().err
