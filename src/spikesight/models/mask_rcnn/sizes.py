"""Sizes of Mask R-CNN, and of what it keeps between its two stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikesight.files.ranges import Depth, Number, Positive, Stride, Width
from spikesight.options import AS_ARGUMENT, check_options


@dataclass(frozen=True)
class MaskRCNNSizes:
    """Sizes of a Mask R-CNN; a variant of the family is one of these.

    Attributes:
        trunk: Name of the registered model whose maps are read.
        trunk_options: Further arguments of the trunk; None for those with which it starts alive
            on street photos.
        finest: Maps of a smaller stride are not read.
        width: Channels of the pyramid, the region proposals and the mask head.
        box_hidden: Width of the box head's two hidden layers.
        mask_layers: 3x3 convolutions of the mask head.
        anchor_scale: Side of a square anchor over the stride of its level.
        proposals: Regions of an image that the first stage hands on at most; before overlapping
            ones are left out it may be as many of each level, in training twice as many.
        regions: Regions of an image that the box head learns from, a quarter of them objects.
        norm_gain: Initial gain of the normalisations; None for D / 4, at least 1.
    """

    trunk: str = "metaspikformer_15m"
    trunk_options: Mapping[str, Any] | None = None
    finest: Stride = 4
    width: Width = 256
    box_hidden: Width = 1024
    mask_layers: Depth = 4
    anchor_scale: Positive = 8.0
    proposals: Number = 1000
    regions: Number = 512
    norm_gain: float | None = None

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)
