"""Which reader a configuration means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from spikesight.data.detection.annotated_images import ObjectSource
from spikesight.data.detection.coco_json import CocoLayout, find_coco, read_coco_json
from spikesight.data.detection.config import ObjectConfig
from spikesight.data.detection.digit_scenes import DigitObjects
from spikesight.data.detection.division import divide
from spikesight.data.detection.event_boxes import read_event_boxes
from spikesight.data.detection.moving_digits import MovingDigits
from spikesight.data.detection.photo_lists import PhotoList
from spikesight.data.detection.voc_xml import find_voc, read_voc_xml
from spikesight.data.detection.yolo_txt import find_yolo, read_yolo_txt
from spikesight.data.errors import DataError
from spikesight.data.own_sets import OBJECTS
from spikesight.data.segmentation.digit_scenes import DigitScenes
from spikesight.files.names import check_inside, check_name
from spikesight.options import check_arguments
from spikesight.parts import find_part

_PARTS = ("train", "val", "test")
ObjectPart = Literal["train", "val", "test", "all"]


def object_part_of(split: Literal["validation", "test", "all"]) -> ObjectPart:
    """The part of the images that a split of an evaluation means."""
    check_arguments(object_part_of, {"split": split}, error=DataError)
    parts: dict[str, ObjectPart] = {"validation": "val", "test": "test", "all": "all"}
    return parts[split]


def read_objects(config: ObjectConfig, part: ObjectPart) -> ObjectSource:
    """Finds the images of a part and reads their annotations; no photo is read yet.

    Args:
        config: Describes the data set.
        part: "train", "val", "test" where the data set has objects for it, or "all" of photos in
            files that are not divided into parts, such as a folder of held-out ones.

    Raises:
        DataError: Files are missing or damaged, or there are several parts and all are asked for.
    """
    check_name(config.path, "objects.path", DataError)
    for name in ("annotations", "validation_annotations"):
        check_inside(getattr(config, name) or "", f"objects.{name}", DataError)
    path = Path(config.path)
    match config.format:
        case "coco":
            return _read_coco(path, part, config)
        case "voc" | "yolo":
            return _read_parts(path, part, config)
        case own if part == "all":
            raise DataError(
                f"objects.format {own!r} is divided into parts; pass the split validation or test"
            )
        case "digit_scenes":
            if part == "test":
                raise DataError("digit_scenes have no part for testing; pass the split validation")
            count = config.scenes if part == "train" else config.validation_scenes
            digits = DigitScenes(
                part, count, config.image_size, config.split_seed, config.background
            )
            return DigitObjects(
                replace(
                    digits,
                    digits=config.objects or digits.digits,
                    scale=config.object_size or digits.scale,
                )
            )
        case "moving_digits":
            if part == "test":
                raise DataError("moving_digits have no part for testing; pass the split validation")
            return MovingDigits(
                part,
                config.scenes if part == "train" else config.validation_scenes,
                config.image_size,
                config.split_seed,
                config.objects or (1, 3),
                config.object_size or (0.25, 0.45),
                config.events,
            )
        case "gen1" | "one_mpx":
            return read_event_boxes(config, part)
        case own:
            source: ObjectSource = find_part(OBJECTS, own)(config, part)
            return source


def _read_coco(path: Path, part: ObjectPart, config: ObjectConfig) -> ObjectSource:
    if part == "all":
        return read_coco_json(_only_coco(path, config), config.class_names)
    given = {"train": config.annotations, "val": config.validation_annotations}.get(part)
    # A file that is named is the whole set, unless another is named for validation.
    alone = config.annotations is not None and config.validation_annotations is None
    layout = None if alone and part == "val" else find_coco(path, part, given)
    if layout is not None and part != "train":
        return read_coco_json(layout, config.class_names)
    if part == "test":
        raise DataError(f"{path}: keeps no objects for testing; pass the split validation")
    whole = find_coco(path, "train", config.annotations)
    if whole is None:
        raise DataError(
            f"{path}: holds no JSON file such as annotations/instances_train2017.json, "
            "train/_annotations.coco.json or instances.json; correct objects.path or pass "
            "objects.annotations, the file's name in it"
        )
    photos = read_coco_json(whole, config.class_names)
    if not alone and find_coco(path, "val", config.validation_annotations) is not None:
        return photos
    return divide(photos, part, config.validation_fraction, config.split_seed)


def _only_coco(path: Path, config: ObjectConfig) -> CocoLayout:
    """The one JSON file of a set that is not divided."""
    if config.annotations is not None:
        named = find_coco(path, "train", config.annotations)
        assert named is not None
        return named
    parts = {part: find_coco(path, part, None) for part in _PARTS}
    found = {part: layout for part, layout in parts.items() if layout is not None}
    files = {layout.file for layout in found.values()}
    if len(files) != 1:
        raise DataError(
            f"{path}: "
            + (_divided(list(found)) if files else "holds no JSON file of a usual name; pass")
            + " objects.annotations, the file's name in it"
        )
    return next(iter(found.values()))


def _divided(parts: list[str]) -> str:
    """Why there is no whole set, with the beginning of a remedy."""
    return f"is divided into {' and '.join(parts)}; pass the split validation or test, or"


def _read_parts(path: Path, part: ObjectPart, config: ObjectConfig) -> ObjectSource:
    """Photos of a format that says itself which parts there are."""
    read: Callable[[str], PhotoList]
    name = f"{path} ({part})"
    if config.format == "voc":
        voc = find_voc(path, config.annotations)
        parts, read = (
            voc.parts,
            partial(read_voc_xml, voc, class_names=config.class_names, name=name),
        )
    else:
        yolo = find_yolo(path, config.annotations)
        parts = yolo.parts
        read = partial(read_yolo_txt, yolo, class_names=config.class_names, name=name)
    if part == "all":
        if len(parts) > 1:
            raise DataError(f"{path}: {_divided(list(parts))} objects.path, another folder")
        return read(next(iter(parts)))
    if part in parts and (part != "train" or "val" in parts):
        return read(part)
    if part == "test" or "train" not in parts:
        lost = "testing" if part == "test" else "training"
        raise DataError(f"{path}: keeps no objects for {lost}; it has {', '.join(parts)}")
    return divide(read("train"), part, config.validation_fraction, config.split_seed)
