"""The fields of a configuration that say what is learned from; each task reads one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikesight.data import DataConfig
from spikesight.data.config import MADE_HERE
from spikesight.data.detection import ObjectConfig
from spikesight.data.own_sets import DATA_SET, OBJECTS, SCENES
from spikesight.data.segmentation import SceneConfig
from spikesight.errors import UserError


@dataclass(frozen=True)
class DataSection:
    """A field of the configuration that says what is learned from.

    Attributes:
        config: Its dataclass.
        own_set: What users' own formats of it are, among their parts.
        made_here: Formats that read no file.
        of_files: A format that reads some.
    """

    config: type
    own_set: str
    made_here: tuple[str, ...]
    of_files: str


DATA_SECTIONS = {
    "data": DataSection(DataConfig, DATA_SET, MADE_HERE, "folder"),
    "scenes": DataSection(SceneConfig, SCENES, ("digit_scenes",), "folder"),
    "objects": DataSection(ObjectConfig, OBJECTS, ("digit_scenes", "moving_digits"), "coco"),
}


def section_of(config: object) -> str:
    """The field that a configuration of data stands in."""
    return next(n for n, section in DATA_SECTIONS.items() if isinstance(config, section.config))


def check_path_is_read(section: str, fields: Mapping[str, Any]) -> None:
    """Refuses a path that someone passes beside a format that reads no file.

    Raises:
        UserError: If other images would be read than those of the path.
    """
    about = DATA_SECTIONS[section]
    form = fields.get("format", getattr(about.config, "format", ""))
    if fields.get("path") and form in about.made_here:
        raise UserError(
            f"{section}.path is {fields['path']} but {section}.format is {form}, which reads no "
            f"file; pass {section}.format too, such as {about.of_files}"
        )
