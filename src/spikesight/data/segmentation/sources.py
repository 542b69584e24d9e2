"""Which reader a configuration means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from spikesight.data.errors import DataError
from spikesight.data.own_sets import SCENES
from spikesight.data.segmentation.coco_panoptic import read_coco_panoptic
from spikesight.data.segmentation.config import SceneConfig
from spikesight.data.segmentation.cut_out_scenes import CutOutScenes, find_cut_outs
from spikesight.data.segmentation.digit_scenes import DigitScenes
from spikesight.data.segmentation.folders import read_camvid, read_folder
from spikesight.data.segmentation.public_sets import (
    read_ade20k,
    read_cityscapes,
    read_oxford_pet,
    read_voc,
)
from spikesight.data.segmentation.scene import SceneSource
from spikesight.files.names import check_name
from spikesight.options import check_arguments
from spikesight.parts import find_part

ScenePart = Literal["train", "val", "test"]


def part_of(split: Literal["validation", "test", "all"]) -> ScenePart:
    """The part of the scenes that a split of an evaluation means.

    Raises:
        DataError: If split is "all": scenes are divided.
    """
    check_arguments(part_of, {"split": split}, error=DataError)
    if split == "all":
        raise DataError("scenes are divided into parts; pass the split validation or test")
    return "val" if split == "validation" else "test"


def read_scenes(config: SceneConfig, part: ScenePart) -> SceneSource:
    """Finds the scenes of a part; none is read yet.

    Args:
        config: Describes the data set.
        part: "train", "val", or "test" where the data set has masks for it.

    Raises:
        DataError: Files are missing.
    """
    for name in ("path", "photos"):
        check_name(getattr(config, name), f"scenes.{name}", DataError)
    path = Path(config.path)
    count = config.scenes if part == "train" else config.validation_scenes
    match config.format:
        case "folder":
            return read_folder(path, part, config.class_names, config.ignore_label)
        case "camvid":
            return read_camvid(path, part)
        case "ade20k":
            return read_ade20k(path, part)
        case "cityscapes":
            return read_cityscapes(path, part)
        case "voc":
            return read_voc(path, part, config.train_list)
        case "oxford_pet":
            return read_oxford_pet(
                path, part, config.train_list, config.validation_fraction, config.split_seed
            )
        case "coco_panoptic":
            return read_coco_panoptic(path, part)
        case "digit_scenes":
            digits = DigitScenes(
                part, count, config.crop_size, config.split_seed, config.background
            )
            return replace(
                digits,
                digits=config.objects or digits.digits,
                scale=config.object_size or digits.scale,
            )
        case "cut_outs":
            cut_outs, photos = find_cut_outs(
                path, Path(config.photos), part, config.split_seed, config.on_corrupt
            )
            pasted = CutOutScenes(
                part, count, config.crop_size, cut_outs, photos, config.split_seed
            )
            return replace(
                pasted,
                objects=config.objects or pasted.objects,
                scale=config.object_size or pasted.scale,
            )
        case own:
            source: SceneSource = find_part(SCENES, own)(config, part)
            return source
