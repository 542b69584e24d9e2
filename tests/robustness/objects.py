"""Damaged data sets of photos with objects: COCO's JSON, VOC's XML, YOLO's text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spikesight.data.detection import ObjectConfig, ObjectSource, read_objects
from tests.data.detection import layouts
from tests.robustness.damage import INTEGERS, NUMBERS, TEXTS, Damage
from tests.robustness.guard import Trial, UnsoundError
from tests.robustness.scenes import spoil_files


def _check(source: ObjectSource) -> None:
    names = source.classes.names
    if not names or len(set(names)) != len(names):
        raise UnsoundError(f"classes {names}")
    str(source.notes)
    for index in range(min(len(source), 5)):
        read = source.read(index, source.masks)
        objects = read.objects
        height, width = read.size
        boxes = objects.boxes
        if read.image.dtype != torch.uint8 or not torch.isfinite(boxes).all():
            raise UnsoundError(f"{read.image.dtype} {boxes}")
        if len(boxes) and not (
            (boxes >= 0).all()
            and (boxes <= torch.tensor([width, height, width, height])).all()
            and (boxes[:, 2:] > boxes[:, :2]).all()
            and 0 <= int(objects.classes.min()) <= int(objects.classes.max()) < len(names)
        ):
            raise UnsoundError(f"boxes {boxes} of {objects.classes}")
        if source.masks and (objects.masks is None or objects.masks.shape[1:] != read.size):
            raise UnsoundError("masks of another size")


_MASKS: list[Any] = [
    [],
    [[5, 10, 25, 10, 25, 30]],
    [[5, 10, 25, 10]],
    [[5, 10, 25, 10, 25]],
    [[1e9, 1e9, -1e9, 5, 5, 1e9]],
    [[0.1] * 4000],
    [[5, 10, 25, 10, 25, 30], [1, 1, 2, 2, 3, 1]],
    {"size": [40, 60], "counts": [100, 50, 2250]},
    {"size": [40, 60], "counts": [100, 50]},
    {"size": [40, 60], "counts": [-100, 2500]},
    {"size": [40, 60], "counts": [2**40, 5]},
    {"size": [2**30, 2**30], "counts": [2**60]},
    {"size": [60, 40], "counts": [2400]},
    {"size": [40, 60], "counts": "zzzzzzzz"},
    {"size": [40, 60], "counts": ""},
    {"size": [40, 60], "counts": "\0\u00ff"},
    {"size": [40, 60], "counts": "o" * 5000},
    {"counts": "04"},
    None,
    "mask",
]


def _coco(damage: Damage, folder: Path) -> Trial:
    root = folder / "coco"
    content = layouts.coco_content()
    for annotation in content["annotations"]:
        if damage.hits(0.1):
            annotation["segmentation"] = damage.pick([], _MASKS, "mask", 1.0)
    layouts.coco(root, content)
    if damage.hits(0.8):
        (root / "instances.json").write_bytes(damage.json(content))
        if damage.hits(0.1):
            spoil_files(root, damage)
    return _trial(root, "coco", damage)


_XML: list[str] = [
    '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>',
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
    '<?xml version="1.0" encoding="utf-16"?><annotation/>',
    '<?xml version="1.0" encoding="nonsense"?><annotation/>',
    "<annotation>" + "<a>" * 5000 + "</a>" * 5000 + "</annotation>",
    "<annotation>" + "<a/>" * 250_000 + "</annotation>",
    "<annotation>&undefined;</annotation>",
    "<annotation/>",
    "<annotation><object/></annotation>",
    "<other/>",
    "",
    "{}",
]
_VALUES = [*map(str, NUMBERS), *(text for text in TEXTS if text.isprintable()), *map(str, INTEGERS)]


def _voc(damage: Damage, folder: Path) -> Trial:
    root = layouts.voc(folder / "voc", lists=damage.hits(0.5))
    files = sorted((root / "Annotations").iterdir())
    for file in files:
        if not damage.hits(0.25):
            continue
        text = file.read_text()
        if damage.hits(0.3):
            text = damage.pick(text, _XML, "document", 1.0)
        elif damage.hits(0.5):
            start = text.find(">", damage.random.randrange(len(text))) + 1
            end = max(text.find("<", start), start)
            value = damage.pick("", _VALUES, f"text at {start}", 1.0)
            value = value.replace("<", "&lt;") if damage.hits(0.5) else value
            text = text[:start] + value + text[end:]
        encoded = text.encode("utf-8", "replace")
        file.write_bytes(damage.bytes(encoded) if damage.hits(0.4) else encoded)
    if damage.hits(0.1):
        spoil_files(root, damage)
    return _trial(root, "voc", damage)


_LINES = [
    "",
    "0",
    "0 0.5 0.5 0.1",
    "0 0.5 0.5 0.1 0.1 0.9",
    "0 0.1 0.1 0.5 0.1 0.5 0.5",
    "0 0.1 0.1 0.5 0.1 0.5 0.5 0.7",
    "2 0.5 0.5 0.1 0.1",
    "-1 0.5 0.5 0.1 0.1",
    "0.5 0.5 0.5 0.1 0.1",
    "0 nan 0.5 0.1 0.1",
    "0 0.5 0.5 inf 0.1",
    "0 0.5 0.5 0 0.1",
    "0 0.5 0.5 -0.1 0.1",
    "0 300 200 50 50",
    "0 0.5 0.5 0.1 x",
    "cell 0.5 0.5 0.1 0.1",
    "1e400 0.5 0.5 0.1 0.1",
    "0 " + "0.5 " * 5000,
    "٠ 0.5 0.5 0.1 0.1",
    "0,0.5,0.5,0.1,0.1",
    "0 0.5 0.5 0.1 0.1\0",
]
_NAMES = [
    "names: [a, b]",
    "names: {0: a, 1: b}",
    "names: {0: a, 7: b}",
    "names: {a: 0, b: 1}",
    "names: [a, a]",
    "names: []",
    "names: [1, 2]",
    "names: [a]",
    "names: a",
    "nc: 2",
    "",
    "- a",
    "names: [a, [b]]",
    "names: [null, b]",
    "names: [a, b]\npath: /etc\ntrain: ../../..",
]


def _yolo(damage: Damage, folder: Path) -> Trial:
    root = layouts.yolo(folder / "yolo")
    for file in sorted((root / "labels").iterdir()):
        if damage.hits(0.5):
            lines = file.read_text().splitlines()
            lines = [damage.pick(line, _LINES, "line", 0.5) for line in lines]
            text = "\n".join(lines).encode("utf-8", "replace")
            file.write_bytes(damage.bytes(text) if damage.hits(0.2) else text)
    if damage.hits(0.3):
        text = damage.pick("names: [a, b]", _NAMES, "names", 0.9)
        (root / "data.yaml").write_bytes(damage.document(text))
    if damage.hits(0.1):
        spoil_files(root, damage)
    return _trial(root, "yolo", damage)


_OPTIONS: dict[str, list[Any]] = {
    "class_names": [["cell"], [], ["cell", "cell"], ["nothing"], "cell", [3], [""], ["cell", None]],
    "validation_fraction": [0, 0.5, 0.99, 1, -0.1, "x", float("nan")],
    "annotations": ["nowhere", "../x", "/etc/passwd", "", ".", "a\0", 3, "labels", "images"],
    "image_size": [(0, 1), (10**9, 1), (1, 1), (7,), "x", (2.5, 3)],
}


def _trial(root: Path, format_: str, damage: Damage) -> Trial:
    options: dict[str, Any] = {}
    for name, odd in _OPTIONS.items():
        if damage.hits(0.04):
            options[name] = damage.pick(None, odd, name, 1.0)
    part = damage.pick("train", ["val", "test"], "part", 0.3)

    def read() -> None:
        config = ObjectConfig(format=format_, path=str(root), **options)
        _check(read_objects(config, part))  # type: ignore[arg-type]

    return Trial(read, (str(root), *_OPTIONS), "; ".join(damage.notes))


def _sound(damage: Damage, folder: Path) -> Trial:
    """Options of composed digits."""
    options: dict[str, Any] = {"image_size": (16, 20), "scenes": 4}
    odd: dict[str, list[Any]] = {
        "objects": [(0, 1), (1, 10**9), (3, 1), (1.5, 2), ("a", "b"), (1,)],
        "object_size": [(0.0, 0.5), (float("nan"), 1), (0.1, 2.0), (0.9, 0.1), (1e-9, 1e-9)],
        "scenes": [0, -1, 2**70, 1.5, "3", None, True],
        "mosaic": [2, -1, float("nan"), "x"],
        "scale_range": [(0, 1), (2, 1), (float("inf"), 1), (1,), 3],
    }
    for name, values in odd.items():
        if damage.hits(0.15):
            options[name] = damage.pick(None, values, name, 1.0)

    def read() -> None:
        _check(read_objects(ObjectConfig(**options), "train"))

    return Trial(read, tuple(odd), "; ".join(damage.notes))


READERS = [
    ("coco objects", _coco, 60),
    ("voc objects", _voc, 50),
    ("yolo objects", _yolo, 40),
    ("digit objects", _sound, 10),
]
