"""The description of a data set and of its augmentation, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from spikesight.data.class_lists import check_class_names
from spikesight.data.errors import DataError
from spikesight.data.events.config import EVENT_FORMATS, PHOTO_FIELDS, EventConfig
from spikesight.data.own_sets import DATA_SET, check_format
from spikesight.data.photos.normalisation import check_normalisation
from spikesight.files.ranges import Count, Margin, PositiveShare, Processes, Rate, Share, Side
from spikesight.options import check_options

Format = Literal[
    "folder",
    "tar",
    "shards",
    "idx",
    "cifar10",
    "cifar100",
    "digits",
    "painted_digits",
    "drawn_digits",
    "cifar10_dvs",
    "nmnist",
    "dvs128_gesture",
    "event_folders",
]
MADE_HERE = ("digits", "painted_digits", "drawn_digits")
"""Formats that read no file."""
OnCorrupt = Literal["stop", "skip"]
Split = Literal["validation", "test", "all"]


@dataclass
class DataConfig:
    """Which images to read, how to split them and how to augment them.

    Attributes:
        format: How the images are stored. `folder` and `tar` hold one folder per class, either
            directly or below `train/`, `val/` and `test/`; `shards` are tar files in the layout of
            webdataset (`key.jpg` and its class in `key.cls` or `key.json`), whose names or folders
            say train, val or test; `idx` are the four files of MNIST and Fashion-MNIST, plain or
            gzipped; `cifar10` and `cifar100` are the python batches in
            torchvision's layout; `digits` comes with scikit-learn and needs no path.
            `painted_digits` are the same, each in four sizes, places and light colours on a dark
            ground, as scenes of `digit_scenes` show them; a fifth of the digits validates, and
            `validation_fraction` must be 0. `drawn_digits` are the same too, grey, each drawn 16
            times by a pen of another width, height and tilt, half of them dark on light.
            `cifar10_dvs`, `nmnist` and `dvs128_gesture` are recordings of event cameras in their
            published layouts, `event_folders` any recordings in one folder per class. Any other
            name is that of a function given to `register_dataset`.
        path: Folder or tar file to read; of shards also a pattern such as
            `photos/train-{000..127}.tar` or `photos/*.tar`. Not used by `digits`,
            `painted_digits` and `drawn_digits`.
        image_size: Height and width of the images that the model sees, in pixels. Other sizes
            are resized (bicubic, antialiased) on the shorter side and cropped in the centre.
        channels: 3 reads colour and repeats a grey image three times; 1 reads grey and turns
            colour into luma (ITU-R 601). Of events, 2 counts (negative, positive) and 3
            (positive, negative, all).
        class_names: Names of the classes of `idx` files, which carry none, and of shards that
            number them and have no classes.txt beside; by default the numbers of the labels.
            Other formats name their classes themselves.
        validation_fraction: Share of each class of the training images that is set aside for
            validation. 0 validates on the images that the data set keeps for it: `val/` or else
            `test/`, the t10k files, or test_batch.
        split_seed: Seed of that split.
        groups: A CSV file with the columns "file" (from `path` on) and "group" of the training
            images. Those of one group, such as all photos of one person, then come on one side of
            that split.
        label_fraction: Share of each class of the training images, at least one image, whose labels
            may be read, such as 0.01. A classifier trains on these images alone; masked-image
            pre-training shows all of them, and its linear probe reads the labels of these.
            Validation stays whole. A smaller share is part of every larger one.
        label_seed: Seed of that choice.
        mean: Mean per channel of images in 0..1, for normalisation. By default it is computed
            from the training images if they are in memory, else it is ImageNet's.
        std: Standard deviation per channel of images in 0..1; default as for `mean`.
        crop_fraction: Share of the shorter side that validation sees: the shorter side is
            resized to `image_size / crop_fraction` before the central crop.
        random_crop_padding: Pixels of black border before a random crop back to `image_size`.
        horizontal_flip: Mirror half of the training images.
        alternate_flip: Mirror each training image in every second epoch, half of them in the first
            one, instead of at random: no image is seen twice alike in two epochs
            (arXiv 2404.00498, section 3.6).
        random_resized_crop: Smallest share of the image's area that a random crop, resized to
            `image_size`, may keep, such as 0.08; by default there is no such crop.
        rand_augment: timm's RandAugment policy, such as `rand-m9-mstd0.5-inc1`. It works image
            by image, so it costs far more than the other augmentations and wants `workers`.
        random_erasing: Probability of blanking a random rectangle with the mean colour.
        workers: Processes that read and decode. By default none where the images are in memory
            and RandAugment is off, else up to four.
        shuffle_buffer: Photos of shards, over all processes, out of which the next is drawn in
            training; a set that is no larger is shuffled wholly. They take memory as files do.
        in_memory: Decode the images of a `folder`, `tar` or shards once, at `image_size`, and keep
            them as bytes; the augmentation then works on whole batches. Other formats always do.
        on_corrupt: What an image that cannot be decoded does: `stop` with an error that names
            it, or `skip` it and count it.
        events: How events become frames; for recordings, and photos with `events.saccades`.
    """

    format: str = "digits"
    path: str = ""
    image_size: Side = 32
    channels: Literal[1, 2, 3] = 3
    class_names: list[str] | None = None
    validation_fraction: Rate = 0.2
    split_seed: Count = 0
    groups: str | None = None
    label_fraction: PositiveShare = 1.0
    label_seed: Count = 0
    mean: list[float] | None = None
    std: list[float] | None = None
    crop_fraction: PositiveShare = 1.0
    random_crop_padding: Margin = 0
    horizontal_flip: bool = False
    alternate_flip: bool = False
    random_resized_crop: PositiveShare | None = None
    rand_augment: str | None = None
    random_erasing: Share = 0.0
    workers: Processes | None = None
    shuffle_buffer: Count = 4096
    in_memory: bool = False
    on_corrupt: OnCorrupt = "stop"
    events: EventConfig = field(default_factory=EventConfig)

    def __post_init__(self) -> None:
        check_options(self, "data.", DataError)
        check_format(DATA_SET, self.format, get_args(Format))
        needs_path = self.format in {*get_args(Format)} - {*MADE_HERE}
        if needs_path and not self.path:
            raise DataError(f"format {self.format!r} needs data.path; pass the folder or tar file")
        if self.holds_events:
            self._check_events()
        elif self.channels not in (1, 3):
            raise DataError(f"data.channels is {self.channels}; pass 1 (grey) or 3 (colour)")
        if self.class_names is not None:
            check_class_names(self.class_names, "data.class_names")
        if self.format in ("painted_digits", "drawn_digits") and self.validation_fraction != 0:
            raise DataError(
                f"format {self.format!r} has its own validation digits, and a digit's copies must "
                "not come on both sides; pass data.validation_fraction=0"
            )
        if self.groups is not None and not (self.groups and self.validation_fraction > 0):
            raise DataError(
                f"data.groups is {self.groups!r} with data.validation_fraction "
                f"{self.validation_fraction}; pass a CSV file and a fraction above 0, by which "
                "groups are set aside, or leave it out"
            )
        if (self.mean is None) != (self.std is None):
            raise DataError("only one of data.mean and data.std is given; pass both or neither")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) != self.channels:
                raise DataError(
                    f"data.{name} has {len(values)} values but data.channels is {self.channels}; "
                    "pass one value per channel"
                )
        check_normalisation("data.", self.mean, self.std)
        if self.alternate_flip and self.horizontal_flip:
            raise DataError(
                "data.alternate_flip mirrors in turn and data.horizontal_flip at random; pass one "
                "of them"
            )

    @property
    def holds_events(self) -> bool:
        """Whether a sample is a sequence of frames of events, not an image."""
        return self.format in EVENT_FORMATS or self.events.saccades

    def _check_events(self) -> None:
        if self.format in EVENT_FORMATS and self.events.saccades:
            raise DataError(
                f"data.events.saccades moves photos but data.format is {self.format}; leave it out"
            )
        if self.channels not in (2, 3):
            raise DataError(
                f"data.channels is {self.channels}; for events pass 2 (negative, positive) or 3 "
                "(positive, negative, all)"
            )
        for name, (neutral, remedy) in PHOTO_FIELDS.items():
            if getattr(self, name) != neutral:
                raise DataError(f"data.{name} is for photos and the data are events; {remedy}")
