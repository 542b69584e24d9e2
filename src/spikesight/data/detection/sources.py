"""Which reader a configuration means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spikesight.data.detection.annotated_images import ObjectSource
from spikesight.data.detection.config import ObjectConfig
from spikesight.data.detection.digit_scenes import DigitObjects
from spikesight.data.detection.division import divide
from spikesight.data.detection.voc_xml import find_voc, read_voc_xml
from spikesight.data.errors import DataError
from spikesight.data.own_sets import OBJECTS
from spikesight.data.segmentation.digit_scenes import DigitScenes
from spikesight.data.segmentation.sources import ScenePart
from spikesight.files.names import check_inside, check_name
from spikesight.parts import find_part


def read_objects(config: ObjectConfig, part: ScenePart) -> ObjectSource:
    """Finds the images of a part and reads their annotations; no photo is read yet.

    Args:
        config: Describes the data set.
        part: "train", "val", or "test" where the data set has objects for it.

    Raises:
        DataError: Files are missing or damaged.
    """
    check_name(config.path, "objects.path", DataError)
    for name in ("annotations", "validation_annotations"):
        check_inside(getattr(config, name) or "", f"objects.{name}", DataError)
    path = Path(config.path)
    match config.format:
        case "voc":
            return _read_voc(path, part, config)
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
        case own:
            source: ObjectSource = find_part(OBJECTS, own)(config, part)
            return source


def _read_voc(path: Path, part: ScenePart, config: ObjectConfig) -> ObjectSource:
    layout = find_voc(path, config.annotations)
    name = f"{path} ({part})"
    if part in layout.parts and not (part == "train" and "val" not in layout.parts):
        return read_voc_xml(layout, part, config.class_names, name)
    if part == "test":
        raise DataError(f"{path}: keeps no objects for testing; it has {', '.join(layout.parts)}")
    photos = read_voc_xml(layout, "train", config.class_names, name)
    return divide(photos, part, config.validation_fraction, config.split_seed)
