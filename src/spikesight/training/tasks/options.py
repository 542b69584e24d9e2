"""What a trained model is measured on, and what is made of the files that it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spikesight.data.config import OnCorrupt, Split
from spikesight.files.ranges import Number
from spikesight.options import check_options
from spikesight.training.precision import Precision


@dataclass(frozen=True)
class ValidationOptions:
    """What a trained model is measured on, and how.

    Attributes:
        data: Fields of the data (or scene) configuration that differ from training, such as the
            path and format of another set with the same classes.
        split: "validation" (the same images as in training), "test", or "all" images of a set
            that is not divided, such as a tar file of held-out images.
        batch_size: Images per process and forward pass; the task's own number if omitted.
        precision: Autocast type: "no" (float32), "auto" (bf16 where the device computes it), "bf16"
            or "fp16".
        device: "auto" takes the GPUs that are there; "cpu" leaves them alone.
        limit_batches: Stop after so many batches.
        view: Fields of a segmenter's view that differ from training.
        run: Folder of the run whose data and preprocessing are used; the model's own if omitted.
    """

    data: dict[str, Any] | None = None
    split: Split = "validation"
    batch_size: Number | None = None
    precision: Precision = "no"
    device: Literal["auto", "cpu"] = "auto"
    limit_batches: Number | None = None
    view: dict[str, Any] | None = None
    run: Path | None = None

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class PredictionOptions:
    """What is made of the files that a trained model looks at.

    Attributes:
        pictures: Picture or folder of pictures to write, if any.
        table: A .csv or .json file to write, if any.
        batch_size: Images per forward pass.
        device: "auto" takes the GPU if there is one; "cpu" leaves it alone.
        on_corrupt: Whether an unreadable file ends the call or is left out.
        view: Fields of a segmenter's view that differ from training.
        every: Of a video every so-manieth frame is taken.
        run: Folder of the run whose card says how inputs are prepared and what the classes are
            called; the model's own if omitted.
        html: Page to write, if any.
    """

    pictures: Path | None = None
    table: Path | None = None
    batch_size: Number = 64
    device: Literal["auto", "cpu"] = "auto"
    on_corrupt: OnCorrupt = "stop"
    view: dict[str, Any] | None = None
    every: Number = 1
    run: Path | None = None
    html: Path | None = None

    def __post_init__(self) -> None:
        check_options(self)
