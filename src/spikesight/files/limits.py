"""The table of limits: how much is read from a file of a user, whatever the file says of itself.

Each limit is far above what data sets of this field need, and can be raised by an environment
variable, which reaches the processes that load data too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from spikesight.errors import FileError, UserError

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Limit:
    """One row of the table.

    Attributes:
        name: What it bounds, in capitals; `SPIKESIGHT_MAX_<name>` overrides it.
        default: Largest amount that is taken.
        unit: What is counted.
    """

    name: str
    default: int
    unit: str

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"SPIKESIGHT_MAX_{self.name}"

    @property
    def value(self) -> int:
        """The largest amount that is taken, as the environment has it.

        Raises:
            UserError: The variable holds no whole number above 0.
        """
        given = os.environ.get(self.variable)
        if given is None:
            return self.default
        if not (given.isascii() and given.isdigit() and len(given) < 19 and int(given)):
            raise UserError(
                f"{self.variable} is {given!r}; set it to a whole number above 0 ({self.unit}) or "
                f"unset it, which means {self.default:,}"
            )
        return int(given)

    def check(self, amount: int, what: str, error: type[UserError] = FileError) -> None:
        """Refuses an amount above the limit.

        Raises:
            UserError: It is more than the limit; of the type `error`.
        """
        if amount > self.value:
            raise error(self.message(what, f"{amount:,}"))

    def message(self, what: str, amount: str = "its") -> str:
        """What to say of a file that goes beyond the limit."""
        return (
            f"{what}: {amount} {self.unit} are more than the {self.value:,} that are read; if that "
            f"is right, set the environment variable {self.variable} to a larger number"
        )


TEXT_BYTES = Limit("TEXT_BYTES", 16 * _MIB, "bytes of text")
"""A list of names, a table of labels, a configuration."""

DOCUMENT_BYTES = Limit("DOCUMENT_BYTES", 16 * _MIB, "bytes of JSON")
"""The JSON of a model folder or of a run."""

EXPORT_BYTES = Limit("EXPORT_BYTES", _GIB, "bytes of an exported network")
"""An ONNX or OpenVINO model, or OpenVINO's weights beside it."""

CALIBRATION_BYTES = Limit("CALIBRATION_BYTES", 64 * _MIB, "bytes of means of channels")
"""What was measured of a network for its deployment; 171 million parameters have 1 MB."""

YAML_BYTES = Limit("YAML_BYTES", 256 * _KIB, "bytes of YAML")
"""A configuration."""

ANNOTATION_BYTES = Limit("ANNOTATION_BYTES", _GIB, "bytes of annotations")
"""A JSON file about a whole data set; COCO's largest has 380 MB."""

PHOTO_ANNOTATION_BYTES = Limit("PHOTO_ANNOTATION_BYTES", 4 * _MIB, "bytes of a photo's annotations")
"""An XML or text file about the objects of one photo."""

IMAGE_BYTES = Limit("IMAGE_BYTES", 512 * _MIB, "bytes of an image file")
"""The encoded image."""

IMAGE_PIXELS = Limit("IMAGE_PIXELS", 1 << 27, "pixels")
"""Width times height that an image states; cameras reach 100 million."""

UPLOAD_BYTES = Limit("UPLOAD_BYTES", 64 * _MIB, "bytes of an upload")
"""A photo or recording that somebody drops on the page of `spikesight app`."""

UPLOAD_PIXELS = Limit("UPLOAD_PIXELS", 50_000_000, "pixels of an upload")
"""Width times height of such a photo; phones reach 48 million."""

ARRAY_BYTES = Limit("ARRAY_BYTES", _GIB, "bytes of images or labels")
"""The unpacked content of an IDX file or a CIFAR batch."""

TAR_MEMBERS = Limit("TAR_MEMBERS", 1 << 22, "members of a tar file")
"""ImageNet has 1.3 million images."""

SHARDS = Limit("SHARDS", 1 << 18, "shards")
"""Tar files that a pattern or a folder may mean."""

TAR_KEPT_BYTES = Limit("TAR_KEPT_BYTES", 4 * _GIB, "bytes of images in a compressed tar file")
"""Images of a compressed tar file, which are kept in memory."""

TAR_UNPACKED_RATIO = Limit("TAR_UNPACKED_RATIO", 200, "times its size when unpacked")
"""Unpacked size of a compressed tar file over its own, above `TAR_UNPACKED_BYTES`."""

TAR_UNPACKED_BYTES = Limit("TAR_UNPACKED_BYTES", _GIB, "bytes of a compressed tar file")
"""So much is unpacked whatever the ratio."""

RECORDING_BYTES = Limit("RECORDING_BYTES", _GIB, "bytes of a recording")
"""A recording of an event camera, also its unpacked content."""

EVENTS = Limit("EVENTS", 1 << 26, "events")
"""Events of one recording."""

SENSOR_PIXELS = Limit("SENSOR_PIXELS", 1 << 22, "pixels of the sensor")
"""Width times height of an event camera; the largest sold have 1280 x 720."""

FRAME_CELLS = Limit("FRAME_CELLS", 1 << 26, "counts in the frames of one recording")
"""Frames times channels times height times width."""

VIDEO_FRAME_PIXELS = Limit("VIDEO_FRAME_PIXELS", 1 << 25, "pixels of one frame")
"""Width times height of a video; 8K has 33 million."""
