"""The description of a set of photos with objects and of its augmentation, as in a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from spikesight.data.class_lists import check_class_names
from spikesight.data.config import OnCorrupt
from spikesight.data.detection.event_config import (
    EVENT_FORMATS,
    PHOTO_FIELDS,
    EventObjectConfig,
)
from spikesight.data.errors import DataError
from spikesight.data.own_sets import OBJECTS, check_format
from spikesight.data.photos.normalisation import check_normalisation
from spikesight.data.segmentation.config import LEAST_OBJECT
from spikesight.files.ranges import (
    Count,
    Number,
    Positive,
    PositiveShare,
    Processes,
    Rate,
    Share,
    Side,
)
from spikesight.options import check_options

ObjectFormat = Literal["coco", "voc", "yolo", "digit_scenes", "gen1", "one_mpx", "moving_digits"]
_COMPOSED = ("digit_scenes", "moving_digits")

_MOST_OBJECTS = 1000


@dataclass
class ObjectConfig:
    """Which photos and objects to read and how to augment them.

    A photo is shown to the model at `image_size`: as large as it fits, its shape kept, in the left
    upper corner, the rest in the mean colour. Random sizes are relative to that one.

    Attributes:
        format: How objects are stored: `coco` (one JSON file for many photos), `voc` (an XML file
            for every photo) or `yolo` (a text file for every photo), each in its usual layouts;
            `digit_scenes` are composed of scikit-learn's digits and need no path. Of event cameras
            are `gen1` and `one_mpx` (Prophesee's recordings with boxes beside them) and
            `moving_digits`, which are simulated and need no path. Any other name is that of a
            function given to `register_objects`.
        path: Folder to read; not used by `digit_scenes` and `moving_digits`.
        annotations: Where the training photos' annotations lie in it, if it is none of the usual
            places: `coco`'s JSON file, or `voc`'s or `yolo`'s folder.
        validation_annotations: The JSON file of `coco`'s validation photos. Where `annotations` is
            given alone, its photos are divided.
        class_names: Which classes to read, in which order; objects of others are left out. By
            default all, as the set orders them.
        validation_fraction: Share of the photos that validate, where the set itself sets none
            aside for that.
        split_seed: Seed of that choice, and of composed scenes.
        image_size: Height and width of what the model sees, in pixels.
        scale_range: Smallest and largest random size; what becomes larger than `image_size` is
            cropped at a random place, what becomes smaller lies at a random place.
        stretch: Height and width differ by up to this share from that size, each by itself.
        least_visible: Share of an object's area that must stay in the crop; others are left out.
        flip: Mirror half of the training photos, left to right.
        vertical_flip: Mirror half of the training photos, top to bottom.
        quarter_turns: Turn training photos by 0, 90, 180 or 270 degrees, for photos that have no
            upper edge, as under a microscope.
        photometric_distortion: Change brightness, contrast, saturation and hue at random.
        mosaic: Share of the training images that are put together of four photos.
        mean: Mean per channel of photos in 0..1, for normalisation; ImageNet's.
        std: Standard deviation per channel of photos in 0..1; ImageNet's.
        background: Ground of `digit_scenes`: `dark` (one dark colour, under lighter digits; the
            easiest), `plain` (any one colour) or `textured`.
        objects: Smallest and largest number of objects in a scene of `digit_scenes` or
            `moving_digits`.
        object_size: Smallest and largest side of such an object, as a share of the scene's shorter
            side.
        scenes: Number of training scenes of `digit_scenes` or `moving_digits`.
        validation_scenes: Number of their validation scenes.
        workers: Processes that read; by default up to four, none for composed scenes and with
            `in_memory`.
        in_memory: Keep training photos once they are decoded, no larger than training shows them.
        events: How recordings of event cameras become frames.
        on_corrupt: What a photo that cannot be decoded does: `stop` or `skip`.
    """

    format: str = "digit_scenes"
    path: str = ""
    annotations: str | None = None
    validation_annotations: str | None = None
    class_names: list[str] | None = None
    validation_fraction: Rate = 0.2
    split_seed: Count = 0
    image_size: tuple[Side, Side] = (128, 128)
    scale_range: tuple[Positive, Positive] = (1.0, 1.0)
    stretch: Rate = 0.0
    least_visible: PositiveShare = 0.25
    flip: bool = False
    vertical_flip: bool = False
    quarter_turns: bool = False
    photometric_distortion: bool = False
    mosaic: Share = 0.0
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    background: Literal["dark", "plain", "textured"] = "textured"
    objects: tuple[int, int] | None = None
    object_size: tuple[float, float] | None = None
    scenes: Number = 2000
    validation_scenes: Number = 200
    workers: Processes | None = None
    in_memory: bool = False
    events: EventObjectConfig = field(default_factory=EventObjectConfig)
    on_corrupt: OnCorrupt = "stop"

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, Sequence) and not isinstance(value, str) and name != "class_names":
                setattr(self, name, tuple(value))
        check_options(self, "objects.", DataError)
        check_format(OBJECTS, self.format, get_args(ObjectFormat))
        needs_path = self.format in get_args(ObjectFormat) and not self.composed
        if needs_path and not self.path:
            raise DataError(f"objects.format {self.format!r} needs objects.path; pass the folder")
        self._check_files()
        low, high = self.scale_range
        if low > high:
            raise DataError(
                f"objects.scale_range is {self.scale_range}; pass two factors above 0, the smaller "
                "one first"
            )
        self._check_scenes()
        self._check_events()
        check_normalisation("objects.", self.mean, self.std)

    def _check_files(self) -> None:
        if self.class_names is not None:
            check_class_names(self.class_names, "objects.class_names")
            if not self.class_names:
                raise DataError("objects.class_names is empty; name a class, or leave it out")
        if self.composed:
            for name in ("annotations", "validation_annotations", "class_names"):
                if getattr(self, name) is not None:
                    raise DataError(
                        f"objects.{name} is for sets in files; {self.format!r} has the ten digits; "
                        "leave it out"
                    )
        if self.validation_annotations is not None and self.format in ("voc", "yolo"):
            raise DataError(
                f"objects.validation_annotations is for 'coco'; {self.format!r} says itself which "
                "photos validate; leave it out"
            )

    def _check_scenes(self) -> None:
        if self.composed and min(self.image_size) < LEAST_OBJECT:
            raise DataError(
                f"objects.image_size is {self.image_size}; pass two numbers from {LEAST_OBJECT} "
                "up, as no digit is smaller"
            )
        if (
            self.objects is not None
            and not 1 <= self.objects[0] <= self.objects[1] <= _MOST_OBJECTS
        ):
            raise DataError(
                f"objects.objects is {self.objects}; pass two numbers from 1 to {_MOST_OBJECTS}, "
                "the smaller first"
            )
        if self.object_size is not None and not 0 < self.object_size[0] <= self.object_size[1] <= 1:
            raise DataError(
                f"objects.object_size is {self.object_size}; pass two shares in (0, 1], the "
                "smaller first"
            )

    @property
    def composed(self) -> bool:
        """Whether it describes no files."""
        return self.format in _COMPOSED

    @property
    def holds_events(self) -> bool:
        """Whether it describes recordings of event cameras."""
        return self.format in EVENT_FORMATS

    def _check_events(self) -> None:
        if not self.holds_events:
            return
        for name, neutral in PHOTO_FIELDS.items():
            if getattr(self, name) != neutral:
                raise DataError(
                    f"objects.{name} is for photos and {self.format!r} holds events; leave it out"
                )
