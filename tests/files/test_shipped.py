"""Recipes and trained models that come along are found by their names, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import spikesight as ss
from spikesight.commands.parser import main, read_command
from spikesight.commands.recipes import read_model_card
from spikesight.files.shipped import (
    find_recipe,
    find_weights,
    nearest,
    recipe_names,
    shipped_folder,
    weights_names,
)
from spikesight.training.config import TrainConfig
from spikesight.training.runs.folder import resolve_model_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_recipe_has_a_name_and_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    files = set((ROOT / "configs").rglob("*.yaml")) - set((ROOT / "configs/accelerate").iterdir())
    assert {find_recipe(name) for name in recipe_names()} == files
    assert main(["recipes"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines]
    recipes = {name: wanted for name, about, wanted in rows[: len(recipe_names())] if about}
    models = {name: licence for name, about, licence in rows[len(recipes) :] if about}
    assert list(recipes) == recipe_names()
    assert list(models) == weights_names()
    assert recipes["digit_scenes_boxes"] == "no file"
    assert recipes["bccd_nano_4bit"] == "bccd, runs/bccd_nano_4bit_start"
    assert models["bccd_nano_4bit"] == "apache-2.0"


@pytest.mark.parametrize("name", ["spike2former/voc_1x1", "configs/spike2former/voc_1x1.yaml"])
def test_a_recipe_is_read_by_its_name(name: str) -> None:
    assert TrainConfig.load(name).output == "runs/spike2former_voc_1x1"
    run = read_command(["train", name, "--epochs=3"])
    (config,) = run.keywords.values()  # type: ignore[attr-defined]
    assert (config.output, config.epochs) == ("runs/spike2former_voc_1x1", 3)


def test_a_file_here_is_preferred() -> None:
    Path("cifar10_tiny").write_text("model: {name: metaspikformer_nano}\noutput: here\n")
    assert TrainConfig.load("cifar10_tiny").output == "here"
    Path("mine.yaml").write_text("base: cifar10_tiny\nepochs: 2\n")
    assert TrainConfig.load("mine.yaml").output == "here"
    Path("cifar10_tiny").unlink()
    assert TrainConfig.load("mine.yaml").output == "runs/cifar10_tiny"


def test_a_recipe_can_be_kept_and_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "bccd_nano_4bit"]) == 0
    Path("mine.yaml").write_text(capsys.readouterr().out)
    assert TrainConfig.load("mine.yaml") == TrainConfig.load("bccd_nano_4bit")
    assert main(["recipes", "accelerate/ddp_cpu"]) == 0
    assert "distributed_type: MULTI_GPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["train", "cifar10_tny"], "near: cifar10_tiny"),
        (["train", "configs/voc_1x3.yaml"], "spike2former/voc_1x"),
        (["recipes", "bccd"], "bccd_nano"),
        (["val", "nuclei_mask_rcnn"], ": nuclei_mask_rcnn_nano"),
        (["predict", "weights/bccd_nano", "blood.jpg"], ": bccd_nano_4bit"),
    ],
)
def test_names_that_are_none_are_answered_with_near_ones(
    words: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert near in capsys.readouterr().err


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest("qqqq", recipe_names()) == []
    assert find_recipe("../cifar10_tiny") is find_recipe("accelerate") is find_recipe("") is None
    assert find_weights("../weights/cifar10_tiny") is find_weights("") is find_weights(".") is None


@pytest.mark.parametrize("name", ["bccd_nano_4bit", "weights/bccd_nano_4bit"])
def test_a_trained_model_is_loaded_by_its_name(name: str) -> None:
    model = ss.load(name)
    assert model.recipe["name"] == "spike_det_nano"
    assert resolve_model_folder(name) == find_weights(name)
    Path(name).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        ss.load(name)


@pytest.mark.parametrize("folder", sorted((ROOT / "weights").iterdir()), ids=lambda f: f.name)
def test_every_trained_model_has_a_card(folder: Path) -> None:
    head, text = read_model_card(folder)
    assert head["library_name"] == "spikesight"
    assert (head["license"] == "other") == ("license_name" in head)
    assert f'ss.load("{folder.name}")' in text
    for title in ("## Data", "## Figures", "## How to load"):
        assert title in text


def test_in_a_wheel_they_lie_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site-packages" / "spikesight" / "shipped" / "configs"
    place.mkdir(parents=True)
    monkeypatch.setattr(
        "spikesight.files.shipped.resources.files", lambda _: tmp_path / "site-packages/spikesight"
    )
    (tmp_path / "weights").mkdir()  # of somebody else
    shipped_folder.cache_clear()
    try:
        assert shipped_folder("configs") == place
        assert shipped_folder("weights") is None
        assert weights_names() == []
        assert find_weights("cifar10_tiny") is None
    finally:
        shipped_folder.cache_clear()
