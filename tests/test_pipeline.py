"""Answers with names, from folders, .spk files and models."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight.data import EventPreprocessing, Preprocessing
from spikesight.data.segmentation import ClassTable, ScenePreprocessing
from spikesight.errors import UserError
from spikesight.inference import ViewConfig
from spikesight.training import PredictionOptions
from spikesight.training.runs.card import Card
from spikesight.training.tasks.classification.prediction import predict
from tests.conftest import wake

NAMES = ("cat", "dog", "owl")
STEPS = Preprocessing(16, 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), 0.875, NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier and its card."""
    model = ss.create_model("spikformer_nano", num_classes=3)
    wake(model, torch.rand(4, 3, 16, 16)).save_pretrained(tmp_path / "model")
    Card(None, STEPS, 0, "model", None).write(tmp_path / "model")
    return tmp_path / "model"


def draw(path: Path, **options: Any) -> Path:
    pixels = torch.randint(0, 256, (20, 33, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).save(path, **options)
    return path


def turned(path: Path) -> Path:
    """A photo whose camera was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return draw(path, exif=exif, quality=95)


def test_a_classifier_answers_as_predict_does(folder: Path, tmp_path: Path) -> None:
    photos = [draw(tmp_path / "a.png"), turned(tmp_path / "b.jpg")]
    classify = ss.pipeline(folder, device="cpu")
    answers = classify([str(photos[0]), photos[1]])
    wanted = predict(folder, photos, PredictionOptions(device="cpu"))
    assert [[tuple(guess.values()) for guess in answer] for answer in answers] == [
        found.guesses for found in wanted
    ]
    assert sum(guess["score"] for guess in answers[0]) == pytest.approx(1)
    assert {guess["label"] for guess in answers[0]} == set(NAMES)
    assert classify(photos[1], top_k=1)[0] == pytest.approx(answers[1][0])
    opened = [Image.open(photo) for photo in photos]
    assert classify(opened) == answers
    upright = np.asarray(Image.open(photos[0]))
    assert classify([upright, photos[1]]) == answers
    assert classify(upright[..., 0], batch_size=1) == classify(Image.open(photos[0]).getchannel(0))
    assert classify([]) == []


def test_models_in_memory_and_networks_answer(folder: Path, tmp_path: Path) -> None:
    photo = draw(tmp_path / "a.png")
    model = ss.load(folder)
    answer = ss.pipeline(folder, device="cpu")(photo)
    assert ss.pipeline(model, device="cpu")(photo) == answer
    named = ss.pipeline(model, labels=("katze", "hund", "eule"), device="cpu")(photo, top_k=3)
    translated = dict(zip(NAMES, ("katze", "hund", "eule"), strict=True))
    assert [translated[guess["label"]] for guess in answer] == [guess["label"] for guess in named]
    fresh = ss.create_model("spikformer_nano", num_classes=3)
    fresh.load_state_dict(model.state_dict())
    with pytest.raises(UserError, match="pass run=FOLDER"):
        ss.pipeline(fresh)
    assert ss.pipeline(fresh, run=folder, device="cpu")(photo) == answer
    assert ss.pipeline(fresh, preprocessing=STEPS, device="cpu")(photo) == answer
    net = ss.deploy(model, torch.rand(1, 3, 16, 16))
    net.card = Card(None, STEPS, 0, "model", None).text()
    net.save(tmp_path / "net.spk")
    deployed = ss.pipeline(tmp_path / "net.spk", device="cpu")(photo)
    assert ss.pipeline(net, device="cpu")(photo) == deployed
    assert {guess["label"] for guess in deployed} == set(NAMES)


def test_inputs_that_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    classify = ss.pipeline(folder, device="cpu")
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (20, 20), (1, 2, 3, 0)).save(clear)
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    for item, named in (
        ("https://example.org/cat.jpg", "is an address, and nothing is fetched"),
        (tmp_path / "none.jpg", r"none\.jpg"),
        (clear, r"clear\.png: has transparent pixels"),
        (Image.open(clear), "input 1: has transparent pixels"),
        (text, r"text\.jpg: not a readable image"),
        (np.zeros((4, 4, 3)), r"input 1 is an array \[4, 4, 3\] of float64; pass uint8"),
        (np.zeros((1, 3, 4, 4), np.uint8), "pass uint8"),
        (torch.rand(3, 4, 4), "input 1 is a Tensor; pass a file's path"),
        ([draw(tmp_path / "a.png"), 3], "input 2 is a int"),
    ):
        with pytest.raises(UserError, match=named):
            classify(item)
    with pytest.raises(UserError, match="top_k is 0"):
        classify(clear, top_k=0)
    with pytest.raises(UserError, match=r"top_k is 1\.5"):
        classify(clear, top_k=1.5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="preprocessing is a int; pass a Preprocessing"):
        ss.pipeline(folder, preprocessing=3)  # type: ignore[arg-type]
    for empty in (np.zeros((0, 5), np.uint8), Image.new("RGB", (0, 0))):
        with pytest.raises(UserError, match="input 1: has no pixel"):
            classify(empty)
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with pytest.raises(UserError, match="input 1: not a readable image"):
        classify(Image.open(cut))


def test_a_mark_behind_the_pixels_turns_an_opened_photo_too(folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content, mark = draw(tmp_path / "a.png").read_bytes(), b"eXIf" + exif.tobytes()[6:]
    chunk = struct.pack(">I", len(mark) - 4) + mark + struct.pack(">I", zlib.crc32(mark))
    late = tmp_path / "late.png"
    late.write_bytes(content[:-12] + chunk + content[-12:])
    classify = ss.pipeline(folder, device="cpu")
    assert classify(Image.open(late)) == classify(late) != classify(tmp_path / "a.png")


def test_folders_and_arguments_that_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no trained model"):
        ss.pipeline(tmp_path)
    with pytest.raises(UserError, match="labels is the text 'cat'; pass a list"):
        ss.pipeline(folder, labels="cat")
    with pytest.raises(UserError, match="model is a int; pass a folder"):
        ss.pipeline(3)  # type: ignore[arg-type]


def test_recordings_are_classified() -> None:
    steps = EventPreprocessing(16, 2, 4, classes=NAMES)
    model = ss.create_model("spikformer_nano", num_classes=3, in_channels=2, steps=4)
    classify = ss.pipeline(model, preprocessing=steps, device="cpu")
    count = 500
    recording = ss.Events(
        np.arange(count, dtype=np.int64),
        np.random.default_rng(0).integers(0, 16, count).astype(np.int16),
        np.random.default_rng(1).integers(0, 16, count).astype(np.int16),
        np.arange(count) % 2 == 0,
        16,
        16,
    )
    frames = steps.make_frames(recording, "recording")[None]
    best = model(frames.float()).softmax(1).detach().max(1)
    (answer, again) = classify([recording, recording], top_k=1)
    assert (
        answer
        == again
        == [{"label": NAMES[int(best.indices)], "score": pytest.approx(float(best.values))}]
    )
    with pytest.raises(UserError, match="learned from recordings"):
        classify(np.zeros((16, 16), np.uint8))


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_a_segmenter_answers_with_masks_and_boxes(task: str, tmp_path: Path) -> None:
    kind = "spike_fpn_nano" if task == "semantic" else "spike2former_nano"
    model = ss.create_model(kind, num_classes=3)
    wake(model, torch.rand(2, 3, 32, 48)).save_pretrained(tmp_path)
    table = ClassTable(NAMES, ((9, 9, 9),) * 3, (0, 1) if task == "panoptic" else ())
    steps = ScenePreprocessing((0.5,) * 3, (0.5,) * 3, (32, 48), None, table)
    rules = {"object_score": 0.0, "overlap": 0.0}
    view = ViewConfig(panoptic=ss.inference.PanopticRules(**rules))
    Card(None, steps, 0, "model", None, task, view=view).write(tmp_path)
    photo = draw(tmp_path / "a.png")
    segment = ss.pipeline(tmp_path, device="cpu")
    answer = segment(photo)
    (again,) = segment([Image.open(photo)])
    areas = []
    for one, two in zip(answer["segments"], again["segments"], strict=True):
        inside = np.asarray(one["mask"]) == 255
        assert inside.shape == (20, 33)
        assert np.array_equal(inside, np.asarray(two["mask"]) == 255)
        rows, columns = np.nonzero(inside)
        assert one["box"] == {
            "xmin": columns.min(),
            "ymin": rows.min(),
            "xmax": columns.max() + 1,
            "ymax": rows.max() + 1,
        }
        assert one["label"] in NAMES
        assert (one["score"] is None) == (task == "semantic")
        assert one["is_object"] == (task == "panoptic" and one["label"] != "owl")
        areas.append(inside.sum())
    assert areas == sorted(areas, reverse=True)
    assert areas
    if task == "semantic":
        assert sum(areas) == 20 * 33
    with pytest.raises(UserError, match="2 names and the segmenter 3"):
        ss.pipeline(tmp_path, labels=("a", "b"))
