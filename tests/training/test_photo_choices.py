"""`spikesight train photos/` chooses what a folder of photos needs, and it works."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from spikesight.commands.parser import main
from spikesight.training.tasks.classification import choices as photo_choices
from spikesight.training.tasks.classification.choices import Choice, choose_for_classes
from spikesight.training.tasks.segmentation import choices as scene_choices
from spikesight.training.tasks.segmentation.choices import choose_for_masks


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (photo_choices, scene_choices):
        monkeypatch.setattr(module, "training_images_per_second", lambda *_: 30.0)


def photos(place: str, per_class: int, classes: int = 3, side: int = 40) -> Path:
    """Noise of mixed sizes and kinds, a folder for each class."""
    noise = np.random.default_rng(0)
    for number in range(classes):
        folder = Path(place, f"class {number}")
        folder.mkdir(parents=True)
        for index in range(per_class):
            size = (side + 3 * index, side + number, 3)
            image = Image.fromarray(noise.integers(0, 255, size, np.uint8).astype(np.uint8))
            kind = "png" if index % 2 else "jpg"
            (image.convert("L") if index % 3 == 2 else image).save(folder / f"{index}.{kind}")
    return Path(place)


def masks(place: str, labels: list[int], count: int = 4) -> Path:
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            Path(place, part, kind).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (50, 40), (index, 50, 90)).save(
                Path(place, part, "images", f"{index}.png")
            )
            mask = np.array(labels, np.uint8)[np.arange(50 * 40).reshape(40, 50) % len(labels)]
            Image.fromarray(mask).save(Path(place, part, "labels", f"{index}.png"))
    return Path(place)


def choose(path: Path, **asked: str) -> Choice:
    return choose_for_classes(str(path), {k.replace("__", "."): v for k, v in asked.items()})


def test_choices_follow_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_choices, "find_weights", lambda _: None)
    small = choose(photos("small", 2)).fields
    assert small["batch_size"] == 8
    assert small["epochs"] == 60
    assert small["output"] == "runs/small"
    assert 0.25 < small["data"]["validation_fraction"] < 0.26
    large = choose(photos("large", 40, side=60)).fields
    assert large["batch_size"] == 16
    assert large["data"]["validation_fraction"] == 0.2
    assert large["data"]["image_size"] in (32, 48, 64)
    assert large["model"] == {"name": "metaspikformer_tiny", "levels": 16}
    monkeypatch.setattr(photo_choices, "training_images_per_second", lambda *_: 1e9)
    assert choose(Path("large")).fields["data"]["image_size"] == 64
    asked = choose(Path("large"), data__image_size="24", epochs="3", batch_size="4", output="o")
    assert (asked.fields["data"]["image_size"], asked.fields["epochs"]) == (24, 3)
    assert "24 x 24 pixels, 3 epoch(s) of batches of 4" in asked.lines[1]
    assert "o/config.yaml" in asked.lines[-1]


def test_it_starts_from_the_weights_that_come_with_the_project() -> None:
    folder = Path(__file__).parents[2] / "weights" / "cifar10_tiny"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("no weights in this checkout")
    choice = choose(photos("p", 2))
    assert choice.fields["model"] == {
        "name": "metaspikformer_tiny",
        "weights": str(folder),
        "steps": 1,
        "levels": 16,
        "neuron": "i_lif",
    }
    other = choose(Path("p"), model__name="metaspikformer_nano")
    assert other.fields["model"] == {"name": "metaspikformer_nano"}
    assert "from scratch" in other.lines[1]


@pytest.mark.parametrize(
    ("per_class", "classes", "message"),
    [(1, 3, "each class has one photo only"), (4, 1, r"one class only \(class 0\)")],
)
def test_what_nothing_can_be_learned_from(per_class: int, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(photos("p", per_class, classes))


def test_a_folder_and_a_tar_train_and_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    photos("p", 4)
    with tarfile.open("p.tar.gz", "w:gz") as archive:
        archive.add("p")
    quick = ["--model.name=metaspikformer_nano", "--data.image_size=16", "--limit_batches=1"]
    assert main(["train", "p/", "--epochs=1", "--device=cpu", *quick]) == 0
    out = capsys.readouterr().out
    assert out.startswith("p/: 12 photos of 3 classes, 3 of them for validation")
    config = yaml.safe_load(Path("runs/p/config.yaml").read_text())
    assert (config["data"]["path"], config["data"]["in_memory"]) == ("p/", True)
    again = ["train", "p.tar.gz", "--resume", "--epochs", "2", "--device=cpu"]
    assert main([*again, "--output=runs/p"]) == 2
    assert "p.tar.gz: is a file" in capsys.readouterr().err
    assert main(["train", "p", "--resume", "--epochs=2"]) == 0
    assert "going on with runs/p at epoch 2" in capsys.readouterr().out
    assert main(["train", "p.tar.gz", "--epochs=1", "--output=t", *quick]) == 0
    assert main(["val", "t", "--scenes.path=p", "--data.format=folder"]) == 0
    assert "on 3 images" in capsys.readouterr().out
    masked = ["--task=masked_image", "--data.image_size=32", "--epochs=1", "--limit-batches=1"]
    assert main(["train", "p", "--output=m", *masked]) == 0
    capsys.readouterr()
    assert main(["train", "p", "t/config.yaml"]) == 2
    assert "pass one folder of photos, or YAML files" in capsys.readouterr().err


def test_shards_train_and_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    photos("p", 12)
    assert main(["shards", "p", "--output=s", "--megabytes=1"]) == 0
    quick = ["--model.name=metaspikformer_nano", "--data.image_size=16", "--batch_size=4"]
    quick += ["--data.in_memory=false", "--data.shuffle_buffer=4", "--data.workers=0"]
    capsys.readouterr()
    assert main(["train", "s", "--epochs=1", "--device=cpu", *quick]) == 0
    out = capsys.readouterr().out
    assert out.startswith("s: 36 photos of 3 classes, 6 of them for validation")
    config = yaml.safe_load(Path("runs/s/config.yaml").read_text())["data"]
    assert (config["format"], config["path"]) == ("shards", "s")
    pattern = "s/train-{000000..000000}.tar"
    assert main(["train", pattern, "--resume", "--output=runs/s", "--epochs=2"]) == 0
    assert "going on with runs/s at epoch 2" in capsys.readouterr().out
    assert main(["val", "runs/s"]) == 0
    assert "on 6 images" in capsys.readouterr().out
    assert main(["val", "runs/s", f"--data.path={pattern}", "--split=all"]) == 0
    assert "on 36 images" in capsys.readouterr().out
    for place in ("s", "s/train-000000.tar"):
        assert main(["predict", "runs/s", place]) == 2
        assert "measure on all of " in capsys.readouterr().err
    assert main(["train", "s/train-000000.tar", "s/train-000001.tar"]) == 2
    assert "there is no configuration file s/train-000001.tar" in capsys.readouterr().err
    assert main(["train", "s/train-000000.tar", "s/train-000000.tar"]) == 2
    assert "a pattern of tar files stands in quotes" in capsys.readouterr().err


def test_a_folder_of_masks_is_segmented(capsys: pytest.CaptureFixture[str]) -> None:
    masks("streets", [0, 1, 3, 255])
    assert main(["train", "streets", "--epochs=1", "--limit_batches=1", "--device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "4 photos with masks to learn from and 4 for validation, 4 classes, 255 ignored" in out
    assert "--scenes.class_names" in out
    assert Path("runs/streets/best/model.safetensors").is_file()
    for option in ("--scenes.path", "--data.path"):
        words = ["val", "runs/streets", f"{option}=streets", "--limit_batches=1", "--device=cpu"]
        assert main(words) == 0
        assert "on 4 images" in capsys.readouterr().out


def test_formats_of_masks_are_told_apart() -> None:
    def fields(path: Path, **asked: str) -> dict[str, Any]:
        scenes: dict[str, Any] = choose_for_masks(str(path), asked).fields["scenes"]
        return scenes

    assert fields(masks("camvid", [0, 5, 11]))["format"] == "camvid"
    coloured = masks("coloured", [0, 1])
    (coloured / "label_colors.txt").write_text("0 0 0 ground\n1 1 1 sky\n")
    assert "class_names" not in fields(coloured)
    (coloured / "val" / "images").rename(coloured / "val" / "pictures")
    with pytest.raises(ValueError, match="move a fifth or so of the pairs into val/"):
        fields(coloured)
