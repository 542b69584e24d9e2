"""How photos are shown and what is kept of what a model finds, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spikesight.errors import UserError
from spikesight.files.ranges import Number, Positive, PositiveShare, Share
from spikesight.options import check_options


@dataclass
class PanopticRules:
    """Which masks become segments.

    Args:
        object_score: Queries whose class is less probable than this are left out; Spike2Former's
            code and Mask2Former have 0.8.
        overlap: Masks of which other masks take more than 1 - this share are left out.
    """

    object_score: Share = 0.8
    overlap: Share = 0.8

    def __post_init__(self) -> None:
        check_options(self, "panoptic.")


@dataclass
class ViewConfig:
    """How a photo is shown to a segmenter.

    Args:
        mode: "whole" shows it at once, "slide" in overlapping windows of the training crop's size.
        stride_share: Distance of two windows as a share of the window.
        scales: Factors on the photo's size; the class scores are averaged.
        flip: Whether the mirrored photo is shown as well.
        panoptic: Which masks become panoptic segments.
    """

    mode: Literal["whole", "slide"] = "whole"
    stride_share: PositiveShare = 0.67
    scales: list[Positive] = field(default_factory=lambda: [1.0])
    flip: bool = False
    panoptic: PanopticRules = field(default_factory=PanopticRules)

    def __post_init__(self) -> None:
        check_options(self, "view.")
        if not self.scales:
            raise UserError(f"view.scales is {self.scales}; pass factors above 0, such as 1.0")

    @property
    def single(self) -> bool:
        """Whether a photo is shown once, as a whole, as it is."""
        return self.mode == "whole" and self.scales == [1.0] and not self.flip


@dataclass
class DetectionConfig:
    """Which boxes of a detector are kept in validation and prediction, and which are shown.

    Args:
        score_threshold: Boxes of a lower score are left out.
        nms_iou: Of two boxes of one class that overlap by more (IoU), the worse is left out.
        most: Largest number of boxes in an image.
        shown_score: Pictures, words, tables and pipelines show boxes from this score up; average
            precision and COCO's results are of all that are kept.
    """

    score_threshold: Share = 0.01
    nms_iou: Share = 0.6
    most: Number = 100
    shown_score: Share = 0.3

    def __post_init__(self) -> None:
        check_options(self, "detection.view.")
