"""Damaged data sets of photos with masks: lists, colours, masks, COCO's JSON, videos."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from spikesight.data.segmentation import SceneConfig, SceneSource, read_panoptic_json, read_scenes
from spikesight.data.segmentation.video import VideoWriter, frame_rate, read_frames
from spikesight.training.tasks.segmentation.choices import _class_names
from tests.data.segmentation import layouts
from tests.robustness.damage import INTEGERS, TEXTS, Damage
from tests.robustness.guard import Trial, UnsoundError
from tests.robustness.image_files import damaged_image


def _check(source: SceneSource) -> None:
    table = source.classes
    if len(set(table.names)) != len(table.names) or not len(table):
        raise UnsoundError(f"classes {table.names}")
    if not all(0 <= value <= 255 for colour in table.colours for value in colour):
        raise UnsoundError(f"colours {table.colours}")
    for index in range(min(len(source), 3)):
        scene = source.read(index)
        truth = scene.truth
        if scene.image.dtype != torch.uint8:
            raise UnsoundError(f"a photo of {scene.image.dtype}")
        if int(truth.segment_map.max()) >= len(truth.segment_classes):
            raise UnsoundError("a segment without a class")
        classes = truth.class_map()
        if int(classes.max()) >= len(table) or int(classes.min()) < -1:
            raise UnsoundError("a class without a name")


_COLOUR_LINES = [
    "0 0 0",
    "0 0 0 a",
    "1 1 1 sky",
    "256 0 0 a",
    "-1 0 0 a",
    "1.5 0 0 a",
    "x 0 0 a",
    "0 0 0 Void",
    "9" * 5000 + " 0 0 a",
    "1,2,3,a",
    "1\t2\t3\ta",
    "# a",
    "0 0 0 [red]",
    "0 0 0 ../x",
    "٣ 0 0 a",
    "0 0 0 \0",
    "99999999999 1 1 a",
    "",
    "1 1 1 " + "x" * 5000,
    "1_0 0 0 a",
]


def _scenes(damage: Damage, folder: Path) -> Trial:
    root = folder / "scenes"
    random = damage.random
    kinds = ["folder", "colours", "voc", "ade20k", "cityscapes", "camvid", "segnet"]
    kind = "colours" if damage.none else random.choice(kinds)
    options: dict[str, Any] = {}
    remedies: tuple[str, ...] = ()
    if kind == "colours":
        colours = [(0, 0, 0), (1, 1, 1), (255, 255, 255)]
        lines = [f"{r} {g} {b} c{n}" for n, (r, g, b) in enumerate(colours)]
        layouts.folder(root, (0, 1, 255), 2)
        lines = [damage.pick(line, _COLOUR_LINES, "line", 0.2) for line in lines]
        text = "\n".join(lines).encode("utf-8", "surrogatepass")
        text = damage.bytes(text) if damage.hits(0.2) else text
        text = damage.document(text.decode("latin-1")) if damage.hits(0.1) else text
        (root / "label_colors.txt").write_bytes(text)
    elif kind in ("folder", "camvid"):
        values = (0, 1, 255) if kind == "folder" else (0, 1, 11)
        layouts.folder(root, values, 2)
        if kind == "folder":
            names: list[Any] = [None, [], ["a"], ["a", "a"], ["", ""], ["a", None], "ab", ["a", 3]]
            options["class_names"] = damage.pick(["a", "b"], names, "class_names")
            numbers = [None, 0, 1, -1, 65_535, 65_536, 10**30, 1.5, "255", True, float("nan")]
            options["ignore_label"] = damage.pick(255, numbers, "ignore_label")
            remedies = ("class_names", "ignore_label")
    elif kind == "segnet":
        for part in ("train", "val"):
            layouts.photo(root / part / "0.png")
            layouts.mask(root / f"{part}annot" / "0.png", layouts.stripes(0, 11))
    else:
        getattr(layouts, kind)(root)
    if kind == "voc" and damage.hits(0.6):
        listing = root / "ImageSets" / "Segmentation" / "train.txt"
        odd = [
            "",
            "\n\n",
            "a a",
            "nowhere",
            "../../x",
            "a\r\n",
            "\ufeffa",
            "a 1",
            "x" * 5000,
            "a\0",
            "/dev/zero",
        ]
        text = damage.pick("a", odd, "list", 0.8)
        listing.write_bytes(damage.bytes(text.encode()) if damage.hits(0.2) else text.encode())
    spoil_files(root, damage)
    format_ = {"colours": "folder", "segnet": "camvid"}.get(kind, kind)
    part = "train" if damage.none else random.choice(["train", "train", "val", "test"])

    looked_at = not damage.none and kind in ("folder", "colours") and random.random() < 0.2

    def read() -> None:
        if looked_at:
            _class_names(root, {})
            return
        config = SceneConfig(format=format_, path=str(root), **options)  # type: ignore[arg-type]
        _check(read_scenes(config, part))  # type: ignore[arg-type]

    return Trial(read, (str(root), *remedies), f"{kind}; " + "; ".join(damage.notes))


def spoil_files(root: Path, damage: Damage) -> None:
    files = sorted(p for p in root.rglob("*") if p.suffix in (".png", ".jpg"))
    random = damage.random
    if not damage.hits(0.7):
        return
    file = random.choice(files)

    def replaced(content: bytes) -> None:
        file.unlink()
        file.write_bytes(content)

    def save(pixels: Any) -> None:
        Image.fromarray(pixels).save(file.with_suffix(".png"))

    def link(target: str) -> None:
        file.unlink()
        os.symlink(target, file)

    def pipe() -> None:
        file.unlink()
        os.mkfifo(file)

    size = random.choice([(20, 30), (30, 20), (1, 1), (20, 31)])
    damage.note(file.name)
    damage.one_of(
        image=lambda: replaced(damaged_image(damage)[0]),
        ids=lambda: save(np.full(size, random.choice([2, 5, 11, 254, 255]), np.uint8)),
        wide=lambda: save(np.full(size, random.choice(INTEGERS) % 65_536, np.uint16)),
        colours=lambda: save(np.full((*size, 3), random.choice([0, 1, 9]), np.uint8)),
        grey=lambda: save(np.zeros(size, np.uint8)),
        bits=lambda: save(np.zeros(size, bool)),
        lost=file.unlink,
        pipe=pipe,
        zero=lambda: link("/dev/zero"),
        itself=lambda: link(file.name),
        more=lambda: (
            file.parent / random.choice([".x.png", "y.png", "0.gif", "\udcff.png"])
        ).write_bytes(file.read_bytes()),
        folder=lambda: (file.parent / "z.png").mkdir(),
        loop=lambda: os.symlink("..", file.parent / "again"),
        bytes=lambda: replaced(damage.bytes(file.read_bytes())),
    )


@cache
def _coco_content(folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(folder).read_text())
    return content


def _coco(damage: Damage, folder: Path) -> Trial:
    root = layouts.coco(folder / "coco")
    file = root / "annotations" / "panoptic_train2017.json"
    content = json.loads(file.read_text())
    if not damage.none:
        file.write_bytes(damage.json(content))
        if damage.hits(0.1):
            spoil_files(root, damage)
    masks, photos = root / "annotations" / "panoptic_train2017", root / "train2017"
    names = (file.name, str(masks), str(photos))
    return Trial(
        lambda: _check(read_panoptic_json(file, masks, photos)), names, "; ".join(damage.notes)
    )


_CUT_OUT_FIELDS: dict[str, list[Any]] = {
    "objects": [(0, 1), (1, 10**9), (3, 1), (1.5, 2), None, ("a", "b"), (1,), (True, 2)],
    "object_size": [(0.0, 0.5), (float("nan"), 1), (0.1, 2.0), (0.9, 0.1), (1e-9, 1e-9)],
    "crop_size": [(0, 1), (1, 1), (10**9, 10**9), (-3, 3), (2.5, 3), (float("nan"), 3), (7,)],
    "scenes": [0, -1, 2**70, 1.5, "3", None, True],
}


def _cut_outs(damage: Damage, folder: Path) -> Trial:
    stamps, photos = folder / "stamps", folder / "photos"
    stamps.mkdir()
    photos.mkdir()
    for number in range(5):
        stamp = Image.new("RGBA", (12, 10), (200, 30, number, 255))
        stamp.putpixel((0, 0), (0, 0, 0, 0))
        stamp.save(stamps / f"{number}.png")
        Image.new("RGB", (40, 30), (number, 90, 60)).save(photos / f"{number}.png")
    options: dict[str, Any] = {"crop_size": (16, 20), "scenes": 4}
    for name, odd in _CUT_OUT_FIELDS.items():
        if damage.hits(0.12):
            options[name] = damage.random.choice(odd)
            damage.note(f"{name}={options[name]!r}")
    for place in (stamps, photos):
        spoil_files(place, damage)

    digits = damage.hits(0.3)

    def read() -> None:
        if digits:
            config = SceneConfig(format="digit_scenes", **options)
        else:
            config = SceneConfig(
                format="cut_outs", path=str(stamps), photos=str(photos), workers=0, **options
            )
        _check(read_scenes(config, "train"))

    names = (str(stamps), str(photos), *_CUT_OUT_FIELDS)
    return Trial(read, names, "; ".join(damage.notes))


@cache
def sound_video(folder: str) -> bytes:
    """A video of six frames."""
    path = Path(folder) / "sound.mp4"
    generator = torch.Generator().manual_seed(0)
    with VideoWriter(path, Fraction(25)) as writer:
        for _ in range(6):
            writer.write(torch.randint(0, 256, (3, 32, 48), generator=generator, dtype=torch.uint8))
    content = path.read_bytes()
    path.unlink()
    return content


def _video(damage: Damage, folder: Path) -> Trial:
    content = damage.bytes(sound_video(str(folder.parent.resolve())[:0] or "/tmp"), 400)
    if damage.hits(0.1):
        content = damage.random.choice([b"", damaged_image(damage)[0], TEXTS[9].encode()])
    path = folder / (
        "clip.mp4"
        if damage.none
        else damage.random.choice(["clip.mp4", "clip.mp4", "clip.avi", "clip.mkv"])
    )
    path.write_bytes(content)

    def read() -> None:
        rate = frame_rate(path)
        if not 0 < rate < 1e9:
            raise UnsoundError(f"{rate} frames per second")
        for frame in read_frames(path):
            if frame.ndim != 3 or frame.dtype != torch.uint8:
                raise UnsoundError(f"frame {tuple(frame.shape)}")

    return Trial(read, (path.name,), "; ".join(damage.notes))


READERS = [
    ("scene folders", _scenes, 70),
    ("composed scenes", _cut_outs, 30),
    ("coco panoptic", _coco, 100),
    ("videos", _video, 40),
]
