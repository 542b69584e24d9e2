"""Small data in the place of what a reader of the documents brings."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spikesight.commands.parser import main
from spikesight.data.segmentation.video import VideoWriter
from tests import oracles
from tests.boxed_photos import write_cells
from tests.data.events.files import encode_es, encode_evt3, random_events
from tests.data.image_files import idx, write_tar
from tests.data.segmentation import layouts

_NET = """
import spikesight as ss


def build():
    return ss.create_model("metaspikformer_nano", num_classes=10)
"""


def write_photos(folder: Path) -> None:
    """Eight photos of each of two classes, in two colours."""
    noise = np.random.default_rng(0)
    for name, colour in (("cat", (200, 90, 40)), ("dog", (40, 90, 200))):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.clip(noise.normal(colour, 40, (36, 40 + number, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(
                folder / "photos" / name / f"{number}.jpg"
            )


def write_scenes(folder: Path) -> None:
    """Photos of a square and a disc on a ground, and their masks."""
    rows, columns = np.mgrid[:48, :64]
    for number in range(6):
        mask = np.zeros((48, 64), np.uint8)
        mask[8:24, 4 + 4 * number : 20 + 4 * number] = 1
        mask[(rows - 34) ** 2 + (columns - 50 + 4 * number) ** 2 < 100] = 2
        part = folder / "scenes" / ("train" if number < 3 else "val")
        for kind, image in (("images", mask[..., None] * np.array([90, 60, 30])), ("labels", mask)):
            (part / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(part / kind / f"{number}.png")


def write_recordings(folder: Path) -> None:
    """Six recordings of each of two classes: events on the left and on the right."""
    for name, side in (("left", 0), ("right", 16)):
        (folder / "recordings" / name).mkdir(parents=True)
        for number in range(6):
            events = random_events(400, 16, 32, seed=number)
            events.x[:] = events.x + side
            wide = type(events)(events.t, events.x, events.y, events.polarity, 32, 32)
            (folder / "recordings" / name / f"{number}.es").write_bytes(encode_es(wide))


def write_photo(folder: Path, name: str, size: tuple[int, int] = (64, 48)) -> None:
    """A photo of nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(folder / name)


def write_small_photos(folder: Path, name: str = "cifar10-train.tar") -> None:
    """A tar of class folders, of photos as large as CIFAR-10's and classes named as there."""
    noise = np.random.default_rng(0)
    place = folder / f"{name} unpacked"
    run = json.loads(Path("weights/cifar10_tiny/run.json").read_text(encoding="utf-8"))
    for number, class_name in enumerate(run["preprocessing"]["classes"]):
        (place / class_name).mkdir(parents=True)
        for image in range(12):
            pixels = np.clip(noise.normal(25 * number, 40, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(place / class_name / f"{image}.png")
    write_tar(folder / name, place)


def write_clothes(folder: Path) -> None:
    """IDX files of all classes of Fashion-MNIST, to learn from and to test."""
    (folder / "fashion").mkdir()
    noise = np.random.default_rng(0)
    for part in ("train", "t10k"):
        arrays = (noise.integers(0, 256, (200, 28, 28)), np.arange(200) % 10)
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
            (folder / "fashion" / f"{part}-{kind}-ubyte").write_bytes(idx(array))


def write_nuclei(folder: Path) -> None:
    """Photos with bright squares, their masks as polygons."""
    write_cells(folder / "nuclei", "coco")
    annotations = folder / "nuclei" / "train" / "_annotations.coco.json"
    content = json.loads(annotations.read_text(encoding="utf-8"))
    for annotation in content["annotations"]:
        left, top, width, height = annotation["bbox"]
        right, bottom = left + width, top + height
        annotation["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
    annotations.with_name("instances.json").write_text(json.dumps(content))
    annotations.unlink()


def write_film(file: Path) -> None:
    """Four frames that become brighter, where such files can be written."""
    if find_spec("av") is None:
        return
    with VideoWriter(file, Fraction(10)) as writer:
        for shade in (40, 120, 200, 250):
            writer.write(torch.full((3, 48, 64), shade, dtype=torch.uint8))


def train_briefly(*fields: str) -> None:
    """A run of one batch in the working directory."""
    assert main(["train", *fields, "--epochs=1", "--limit-batches=1"]) == 0


def for_conversion(folder: Path) -> None:
    write_photos(folder)
    train_briefly("photos/", "--model.neuron=relu", "--output=runs/twin")


def for_energy(folder: Path) -> None:
    write_photos(folder)
    train_briefly("photos/", "--output=runs/net")
    assert main(["deploy", "runs/net", "net.spk"]) == 0


def for_exports(folder: Path) -> None:
    write_photo(folder, "cat.jpg")
    write_small_photos(folder, "test.tar")


def for_migration(folder: Path) -> None:
    oracle, _ = oracles.read("spikformer", "cifar10dvs_e32_h4_d1_T3")
    torch.save(oracle["state_dict"], folder / "spikformer.pth")


def for_files(folder: Path) -> None:
    write_photos(folder)
    write_photo(folder, "shoe.png")
    write_clothes(folder)
    (folder / "recording.raw").write_bytes(encode_evt3(random_events(400, 32, 32)))
    (folder / "net.py").write_text(_NET, encoding="utf-8")
    (folder / "names.txt").write_text("\n".join(map(str, range(10))))
    if oracles.SHARED.is_dir():
        oracle, _ = oracles.read("metaspikformer", "sdt_small_T4_eval")
        torch.save(oracle["state_dict"], folder / "15M.pth")


def for_segmentation(folder: Path) -> None:
    layouts.folder(folder / "camvid", (0, 10, 11))
    write_photo(folder, "street.jpg")
    write_film(folder / "drive.mp4")
    train_briefly("configs/painted_digits_nano.yaml", "--output=runs/trunk")


def for_detection(folder: Path) -> None:
    write_photos(folder)
    write_cells(folder / "cells", "voc")
    write_film(folder / "drive.mp4")
    train_briefly("cells/", "--model.neuron=relu", "--output=runs/cells_ann")


def for_trained_models(folder: Path) -> None:
    write_photos(folder)
    for name in ("blood.jpg", "seven.png", "microscope.png"):
        write_photo(folder, name)


STAND_INS: dict[str, Callable[[Path], None]] = {
    "conversion": for_conversion,
    "energy": for_energy,
    "event_camera": write_recordings,
    "exports": for_exports,
    "mask_rcnn": write_nuclei,
    "migration": for_migration,
    "pretraining": write_small_photos,
    "segment_photos": write_scenes,
    "starts": write_clothes,
}
"""By the name of a page; all others get photos."""

JOBS: dict[str, Callable[[Path], None]] = {
    "In Python": write_photos,
    "From training to a file": for_files,
    "Pre-training": write_small_photos,
    "From a trained ReLU network": write_clothes,
    "Four bits": write_small_photos,
    "Segmentation": for_segmentation,
    "Detection": for_detection,
    "Trained models": for_trained_models,
    "Own photos": write_photos,
}
"""By the heading of a part of the cookbook that shows code."""
