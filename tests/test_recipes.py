"""The recipes for small data sets, on a few stand-ins for the data, and what their scripts do."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType

import pytest

from spikesight.data import DataConfig
from spikesight.data.splits import read_splits
from spikesight.training import TrainConfig
from spikesight.training.config import override
from tests.benchmark_scripts import load_script
from tests.data.events.files import encode_n_mnist, random_events
from tests.data.image_files import encode
from tests.data.segmentation.layouts import oxford_pet


def write_n_mnist(folder: Path) -> Path:
    for digit in range(2):
        for number in range(5):
            file = folder / "Train" / str(digit) / f"{number:05}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_n_mnist(random_events(200, 34, 34, 10 * digit + number)))
    return folder


def write_photos(folder: Path, names: list[str], size: int) -> Path:
    for seed, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(size=(size, size), kind="JPEG", seed=seed))
    return folder


def write_hands(folder: Path) -> Path:
    """Photos of four students; the second one's series is interrupted."""
    shown = [(100, range(10)), (110, (0, 2)), (112, (1, 3, 4)), (115, range(10)), (140, range(3))]
    return write_photos(
        folder,
        [
            f"train/{digit}/IMG_{first + place}.JPG"
            for first, digits in shown
            for place, digit in enumerate(digits)
        ],
        20,
    )


@pytest.fixture
def script() -> ModuleType:
    return load_script("recipes")


def test_runs_are_not_repeated(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_n_mnist(tmp_path / "nmnist")
    words = ["nmnist", f"--data={data}", f"--output={tmp_path / 'out'}", "--seeds", "0"]
    words += ["--epochs=1", "--limit-batches=1"]
    script.main([*words, "--only", "recipe", "no augmentation"])
    results = tmp_path / "out" / "nmnist" / "results.csv"
    measured = script.read(results)
    assert [row["row"] for row in measured] == ["recipe", "no augmentation"]
    assert {row["settings"] for row in measured} == {"epochs=1"}
    script.main([*words, "--only", "recipe"])
    assert script.read(results) == measured
    assert "| augmentation | not reported | " in capsys.readouterr().out


def test_pets_learn_from_trimaps(script: ModuleType, tmp_path: Path) -> None:
    data = oxford_pet(tmp_path / "pets")
    words = ["pets", f"--data={data}", f"--output={tmp_path}", "--epochs=1", "--limit-batches=1"]
    script.main([*words, "--seeds", "0", "--only", "scratch"])
    (row,) = script.read(tmp_path / "pets" / "results.csv")
    assert 0 <= float(row["figure"]) <= 100


def test_every_row_is_a_configuration(script: ModuleType) -> None:
    for recipe in script.RECIPES.values():
        path = Path(script._ROOT, "configs", f"{recipe.config}.yaml")
        for changes in recipe.rows.values():
            assert override(TrainConfig.load(path), changes).epochs <= 100
        asked = {name for q in recipe.questions for name in (q.row, q.reference)}
        assert asked == recipe.rows.keys()


def test_series_of_hands_come_on_one_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_hands(tmp_path / "hands")
    load_script("sign_digits_series").main(folder)
    table = tmp_path / "series.csv"
    table.write_text(capsys.readouterr().out)
    with table.open(newline="") as file:
        groups = {row["file"]: row["group"] for row in csv.DictReader(file)}
    assert len(groups) == 28
    assert {
        groups[f"train/{digit}/IMG_{n}.JPG"] for n, digit in ((110, 0), (112, 1), (114, 4))
    } == {"001"}
    assert sorted(set(groups.values())) == ["000", "001", "002", "003"]
    config = DataConfig("folder", str(folder), validation_fraction=0.4, groups=str(table))
    train, validation, _ = read_splits(config)
    assert len(train.labels) + len(validation.labels) == 28


def test_tiny_imagenets_layout_is_read_as_it_is_unpacked(tmp_path: Path) -> None:
    names = [f"train/n0{n}/images/n0{n}_{i}.JPEG" for n in range(3) for i in range(4)]
    folder = write_photos(tmp_path / "tiny", names, 64)
    (folder / "train" / "n00" / "n00_boxes.txt").write_text("n00_0.JPEG\t0\t0\t9\t9\n")
    (folder / "wnids.txt").write_text("n00\nn01\nn02\n")
    train, validation, _ = read_splits(DataConfig("folder", str(folder), validation_fraction=0.25))
    assert train.classes == ["n00", "n01", "n02"]
    assert (len(train.labels), len(validation.labels)) == (9, 3)
