"""Modules of version 0.1 answer to their old names, their functions to their old arguments."""

import importlib
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

import spikesight as ss
from spikesight import moved
from spikesight.data import Preprocessing
from spikesight.data.segmentation import ClassTable, ScenePreprocessing
from spikesight.inference import ViewConfig
from spikesight.training import Card
from spikesight.training.old_calls import CALLS
from tests.conftest import wake

NAMES = ("cat", "dog", "owl")


def old(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(f"spikesight.training.{name}")


def test_every_old_name_is_found() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in moved._MOVED:
            importlib.import_module(f"spikesight.{name}")
    assert set(CALLS) == moved._CALLED_OTHERWISE <= set(moved._MOVED)


def test_classifiers_are_measured_and_asked_as_before(tmp_path: Path) -> None:
    model = ss.create_model("spikformer_nano", num_classes=10, in_channels=1)
    steps = Preprocessing(16, 1, (0.5,), (0.5,), 1.0, tuple("0123456789"))
    wake(model, torch.rand(2, 1, 16, 16)).save_pretrained(tmp_path)
    Card(None, steps, 0, "model", None).write(tmp_path)
    validation = old("validation")
    figures = validation.validate(tmp_path, {"format": "digits"}, "validation", 16, "no", "cpu", 1)
    again = validation.validate_model(
        model.eval(), tmp_path, {"format": "digits"}, batch_size=16, device="cpu", limit_batches=1
    )
    assert figures == again
    assert figures.images == 16
    photo = tmp_path / "a.png"
    Image.new("L", (16, 16), 99).save(photo)
    module = old("prediction")
    (found,) = module.predict(tmp_path, [photo], 1, "cpu")
    assert len(found.guesses) == 5


def test_segmenters_are_measured_and_asked_as_before(tmp_path: Path) -> None:
    model = ss.create_model("spike_fpn_nano", num_classes=3)
    wake(model, torch.rand(2, 3, 32, 32)).save_pretrained(tmp_path)
    table = ClassTable(NAMES, ((9, 9, 9),) * 3, ())
    steps = ScenePreprocessing((0.5,) * 3, (0.5,) * 3, (32, 32), None, table)
    cards = old("scene_card")
    kind = cards.SceneCard
    kind("semantic", None, steps, 0, "model", None, ViewConfig(), "no").write(tmp_path)
    card = kind.read(tmp_path)
    assert isinstance(card, kind)
    assert (card.task, card.preprocessing, card.precision) == ("semantic", steps, "no")
    photo = tmp_path / "a.png"
    Image.new("RGB", (40, 36), (9, 99, 9)).save(photo)
    module = old("segmentation_prediction")
    (seen,) = module.segment_files(tmp_path, [photo], tmp_path / "out", None, 1, "cpu")
    assert seen.overlay == tmp_path / "out" / "a_overlay.png"
    with pytest.raises(ValueError, match="pictures show queries"):
        old("segmenter_pictures").draw_segmenter(
            tmp_path, tmp_path / "p", {"format": "digit_scenes"}, "validation", 1
        )
