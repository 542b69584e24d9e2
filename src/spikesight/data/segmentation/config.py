"""The description of a segmentation data set and of its augmentation, as in a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from spikesight.data.class_lists import check_class_names
from spikesight.data.config import OnCorrupt
from spikesight.data.errors import DataError
from spikesight.data.own_sets import SCENES, check_format
from spikesight.data.photos.normalisation import check_normalisation
from spikesight.files.limits import IMAGE_PIXELS
from spikesight.files.ranges import Count, PositiveShare, Processes, Rate, ShortSide
from spikesight.options import check_options

SceneFormat = Literal[
    "folder",
    "camvid",
    "ade20k",
    "cityscapes",
    "voc",
    "oxford_pet",
    "coco_panoptic",
    "digit_scenes",
    "cut_outs",
]

LEAST_OBJECT = 8
"""Longer side of the smallest object in a composed scene, in pixels."""

_MOST_OBJECTS = 1000
_MOST_SCENES = 10**9


@dataclass
class SceneConfig:
    """Which photos and masks to read and how to augment them.

    Attributes:
        format: How they are stored. `folder` and `camvid` hold `train/` and `val/`, each with
            `images/` and `labels/`; `ade20k`, `cityscapes`, `voc`, `oxford_pet` (trimaps) and
            `coco_panoptic` are the published layouts; `digit_scenes` are composed of
            scikit-learn's digits and need no path; `cut_outs` are PNG files with alpha (Debian's
            tuxpaint-stamps-default), pasted on `photos`. Any other name is that of a function given
            to `register_scenes`.
        path: Folder to read; not used by `digit_scenes`.
        class_names: Names of the classes 0, 1, ... of a `folder`.
        ignore_label: Number in a `folder`'s masks that means nothing.
        train_list: Name of the list of training photos of `voc` and `oxford_pet`, which calls it
            trainval.
        validation_fraction: Share of each breed of that list that validates, of `oxford_pet`.
        photos: Folder of the backgrounds of `cut_outs`.
        crop_size: Height and width of the training crops, in pixels.
        base_short_side: What the shorter side becomes before the random scale; by default the
            photo keeps its size.
        scale_range: Smallest and largest random scale.
        large_scale_jitter: Scale relative to the largest size that fits into the crop.
        largest_category_share: Crops in which one class has more than this share are drawn again.
        flip: Mirror half of the training photos.
        photometric_distortion: Change brightness, contrast, saturation and hue at random.
        evaluation_size: Limits of the shorter and the longer side that a photo is resized to for
            validation and prediction; by default it keeps its size.
        mean: Mean per channel of photos in 0..1, for normalisation; ImageNet's.
        std: Standard deviation per channel of photos in 0..1; ImageNet's.
        background: Ground of `digit_scenes`: `dark` (one dark colour, under lighter digits; the
            easiest), `plain` (any one colour) or `textured`.
        objects: Smallest and largest number of objects in a scene of `digit_scenes` or `cut_outs`;
            3 to 8 digits or 1 to 5 cut-outs by default.
        object_size: Smallest and largest side of such an object, as a share of the scene's shorter
            side; 0.18 to 0.5 or 0.2 to 0.7 by default.
        scenes: Number of training scenes of `digit_scenes` and `cut_outs`.
        validation_scenes: Number of their validation scenes.
        split_seed: Seed of their split and of the scenes.
        workers: Processes that read; by default up to four, none for `digit_scenes`.
        on_corrupt: What a photo or mask that cannot be decoded does: `stop` or `skip`.
    """

    format: str = "digit_scenes"
    path: str = ""
    class_names: list[str] | None = None
    ignore_label: int | None = None
    train_list: str = "train"
    validation_fraction: Rate = 0.2
    photos: str = ""
    crop_size: tuple[int, int] = (128, 128)
    base_short_side: ShortSide | None = None
    scale_range: tuple[float, float] = (1.0, 1.0)
    large_scale_jitter: bool = False
    largest_category_share: PositiveShare = 1.0
    flip: bool = False
    photometric_distortion: bool = False
    evaluation_size: tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    background: Literal["dark", "plain", "textured"] = "textured"
    objects: tuple[int, int] | None = None
    object_size: tuple[float, float] | None = None
    scenes: int = 2000
    validation_scenes: int = 200
    split_seed: Count = 0
    workers: Processes | None = None
    on_corrupt: OnCorrupt = "stop"

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, Sequence) and not isinstance(value, str) and name != "class_names":
                setattr(self, name, tuple(value))
        check_options(self, "scenes.", DataError)
        check_format(SCENES, self.format, get_args(SceneFormat))
        needs_path = self.format in get_args(SceneFormat) and self.format != "digit_scenes"
        if needs_path and not self.path:
            raise DataError(f"scenes.format {self.format!r} needs scenes.path; pass the folder")
        for name in ("class_names", "ignore_label"):
            if getattr(self, name) is not None and self.format != "folder":
                raise DataError(
                    f"scenes.{name} is for scenes.format 'folder'; {self.format!r} has classes of "
                    "its own; leave it out, or set it to null"
                )
        if self.class_names is not None:
            check_class_names(self.class_names, "scenes.class_names")
        if self.ignore_label is not None and not 0 <= self.ignore_label < 1 << 16:
            raise DataError(
                f"scenes.ignore_label is {self.ignore_label}; pass a number from 0 to 65535, and "
                "save masks with such numbers"
            )
        if self.ignore_label is not None and self.class_names is not None:
            check_ignored(self.ignore_label, self.class_names)
        if self.format == "cut_outs" and not self.photos:
            raise DataError("scenes.format 'cut_outs' needs scenes.photos; pass a folder of photos")
        for name in ("crop_size", "evaluation_size"):
            value = getattr(self, name)
            if value is not None and min(value) < 1:
                raise DataError(f"scenes.{name} is {value}; pass two numbers of pixels above 0")
            if value is not None:
                IMAGE_PIXELS.check(value[0] * value[1], f"scenes.{name} is {value}", DataError)
        if self.format in ("cut_outs", "digit_scenes") and min(self.crop_size) < LEAST_OBJECT:
            raise DataError(
                f"scenes.crop_size is {self.crop_size}; pass two numbers from {LEAST_OBJECT} up, "
                "as no object is smaller"
            )
        low, high = self.scale_range
        if not 0 < low <= high:
            raise DataError(
                f"scenes.scale_range is {self.scale_range}; pass two factors above 0, the smaller "
                "one first"
            )
        if (
            self.objects is not None
            and not 1 <= self.objects[0] <= self.objects[1] <= _MOST_OBJECTS
        ):
            raise DataError(
                f"scenes.objects is {self.objects}; pass two numbers from 1 to {_MOST_OBJECTS}, "
                "the smaller first"
            )
        if self.object_size is not None and not 0 < self.object_size[0] <= self.object_size[1] <= 1:
            raise DataError(
                f"scenes.object_size is {self.object_size}; pass two shares in (0, 1], the smaller "
                "first"
            )
        for name in ("scenes", "validation_scenes"):
            if not 1 <= getattr(self, name) <= _MOST_SCENES:
                raise DataError(
                    f"scenes.{name} is {getattr(self, name)}; pass 1 to {_MOST_SCENES:,}"
                )
        check_normalisation("scenes.", self.mean, self.std)


def check_ignored(ignore_label: int, class_names: Sequence[str]) -> None:
    """Checks that what is ignored in masks is not the number of a class.

    Raises:
        DataError: If it is.
    """
    if 0 <= ignore_label < len(class_names):
        raise DataError(
            f"scenes.ignore_label is {ignore_label}, the number of the class "
            f"{class_names[ignore_label]!r}, which would then never be learned; give what is "
            "ignored a number of its own in the masks, such as 255"
        )
