"""What is skipped is named, and skipping is honoured wherever photos are read."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spikesight
from spikesight.commands.parser import main
from spikesight.data import CorruptImageError, DataConfig, DataError, Preprocessing
from spikesight.data.events.conversion import convert_photos
from spikesight.data.segmentation import SceneConfig, ScenePreprocessing
from spikesight.data.segmentation.scene import table_of
from spikesight.inference import ViewConfig
from spikesight.training.runs.card import Card
from spikesight.training.tasks.validation import sample_images


def fill(folder: Path) -> Path:
    """Four photos, the second of which is none."""
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (40, 32), (60 * number, 9, 9)).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp("run") / "best"
    model = spikesight.create_model("metaspikformer_nano", num_classes=2, in_channels=3).eval()
    model.save_pretrained(folder)
    steps = Preprocessing(32, 3, (0.5,) * 3, (0.5,) * 3, 1.0, ("cat", "dog"))
    Card(DataConfig(format="digits"), steps, 1, "model", None).write(folder)
    return folder.parent


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp("run") / "best"
    spikesight.create_model("spike2former_nano", num_classes=2).eval().save_pretrained(folder)
    steps = ScenePreprocessing((0.5,) * 3, (0.5,) * 3, (64, 64), None, table_of(("a", "b")))
    config = SceneConfig(format="digit_scenes")
    Card(config, steps, 1, "model", None, "semantic", view=ViewConfig()).write(folder)
    return folder.parent


def test_photos_that_a_user_brings(
    classifier: Path, segmenter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = fill(tmp_path / "photos")
    for run in (classifier, segmenter):
        caplog.clear()
        with pytest.raises(CorruptImageError, match=r"1\.png"):
            sample_images(run, photos=photos)
        with caplog.at_level(logging.WARNING):
            assert len(sample_images(run, {"on_corrupt": "skip"}, photos=photos)) == 3
        assert "1.png" in caplog.text
        # Another one takes the place of one that is skipped.
        assert len(sample_images(run, {"on_corrupt": "skip"}, 3, photos=photos)) == 3
        only = photos / "1.png"
        with pytest.raises(DataError, match="every image is corrupt"):
            sample_images(run, {"on_corrupt": "skip"}, photos=only)


def test_scenes_of_a_segmenter(
    segmenter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "val/images")
    (tmp_path / "val/labels").mkdir()
    for number in range(4):
        mask = np.zeros((32, 40), np.uint8)
        Image.fromarray(mask).save(tmp_path / f"val/labels/{number}.png")
    changes = {"format": "folder", "path": str(tmp_path), "class_names": ["a", "b"]}
    with pytest.raises(CorruptImageError, match=r"1\.png"):
        sample_images(segmenter, changes, 4)
    with caplog.at_level(logging.WARNING):
        assert len(sample_images(segmenter, {**changes, "on_corrupt": "skip"}, 4)) == 3
    assert "1.png" in caplog.text


@pytest.mark.parametrize("command", ["energy", "verify"])
def test_commands_take_the_option_that_messages_recommend(
    command: str, classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, str(classifier), f"--photos={fill(tmp_path / 'photos')}", "--images=4"]
    assert main(words) == 2
    assert "on-corrupt skip" in capsys.readouterr().err
    assert main([*words, "--on-corrupt=skip"]) == 0


def test_photos_become_recordings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cat", "dog"):
        fill(tmp_path / "photos" / name)
    config = DataConfig(format="folder", path=str(tmp_path / "photos"))
    with pytest.raises(CorruptImageError, match=r"1\.png"):
        convert_photos(config, tmp_path / "out")
    config.on_corrupt = "skip"
    with caplog.at_level(logging.WARNING):
        recordings, _ = convert_photos(config, tmp_path / "events")
    assert recordings == 6
    assert len(list((tmp_path / "events").rglob("*.npz"))) == 6
    assert "skipped 2 corrupt images" in caplog.text


@pytest.mark.parametrize("name", ["T-shirt/top", "..", "", ".hidden", "a\\b"])
def test_classes_that_are_no_folders_are_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikesight.data.events import conversion

    monkeypatch.setattr(
        conversion,
        "find_parts",
        lambda config: {"train": lambda: _Named([name])},
    )
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        convert_photos(DataConfig(), tmp_path / "out")


class _Named:
    def __init__(self, classes: list[str]) -> None:
        self.classes = classes
        self.labels = torch.zeros(1)
