"""How photos are shown to a segmenter, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spikesight.errors import UserError
from spikesight.options import check_options


@dataclass
class PanopticRules:
    """Which masks become segments.

    Args:
        object_score: Queries whose class is less probable than this are left out; Spike2Former's
            code and Mask2Former have 0.8.
        overlap: Masks of which other masks take more than 1 - this share are left out.
    """

    object_score: float = 0.8
    overlap: float = 0.8

    def __post_init__(self) -> None:
        check_options(self, "panoptic.")
        for name in ("object_score", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"panoptic.{name} is {getattr(self, name)}; pass a share in [0, 1]")


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
    stride_share: float = 0.67
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    panoptic: PanopticRules = field(default_factory=PanopticRules)

    def __post_init__(self) -> None:
        check_options(self, "view.")
        if not 0 < self.stride_share <= 1:
            raise UserError(f"view.stride_share is {self.stride_share}; pass a share in (0, 1]")
        if not self.scales or min(self.scales) <= 0:
            raise UserError(f"view.scales is {self.scales}; pass factors above 0, such as 1.0")

    @property
    def single(self) -> bool:
        """Whether a photo is shown once, as a whole, as it is."""
        return self.mode == "whole" and self.scales == [1.0] and not self.flip
