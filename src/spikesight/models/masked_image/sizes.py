"""How images are masked in pre-training, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikesight.errors import UserError
from spikesight.files.ranges import Layers, Side, Width
from spikesight.options import check_options

Target = Literal["pixels", "colours", "gradients"]
CELL = 4
"""Pixels of a side of what has one histogram of gradients."""
DIRECTIONS = 9
"""Of gradients, over half a turn."""


@dataclass(frozen=True)
class MaskedImageSizes:
    """How images are masked, and the decoder.

    Args:
        ratio: Share of the patches that is hidden, in (0, 1).
        patch: Side of a patch in pixels; a multiple of the trunk's stride, which it is if omitted.
        width: Channels of the decoder; divisible by 4 and by `heads`.
        depth: Blocks of the decoder.
        heads: Attention heads of the decoder.
        hiding: What the trunk sees of a hidden patch. "sparse": nothing, its positions are not
            there, as in MAE and SparK. "blank": the mean colour, as in SimMIM (arXiv 2111.09886);
            the trunk then works as in training with labels, and faster.
        target: What is guessed of a hidden patch: its "pixels" without the patch's own mean and
            contrast; its "colours", which are pixels with both, as the trunk sees them; or its
            "gradients", as histograms of their directions in cells of 4 pixels (HOG, MaskFeat,
            arXiv 2112.09133). Of a small patch the mean is most of what can be guessed.
    """

    ratio: float = 0.75
    patch: Side | None = None
    width: Width = 64
    depth: Layers = 2
    heads: Width = 4
    hiding: Literal["sparse", "blank"] = "sparse"
    target: Target = "pixels"

    def __post_init__(self) -> None:
        check_options(self, "masked_image.")
        if not 0.0 < self.ratio < 1.0:
            raise UserError(f"masked_image.ratio is {self.ratio}; pass one in (0, 1)")
        if self.width % 4 or self.width % self.heads:
            raise UserError(
                f"masked_image.width is {self.width}; pass one divisible by 4 and by "
                f"masked_image.heads={self.heads}"
            )

    def values(self, channels: int, patch: int) -> int:
        """How many numbers are guessed of a patch.

        Args:
            channels: Of the images.
            patch: Pixels of its side.

        Raises:
            UserError: If it does not fit the target.
        """
        if self.target != "gradients":
            return channels * patch**2
        if patch % CELL:
            raise UserError(
                f"masked_image.target is gradients, in cells of {CELL} pixels, and the patch has "
                f"{patch}; pass a masked_image.patch that is divisible by {CELL}"
            )
        return channels * DIRECTIONS * (patch // CELL) ** 2

    def hidden(self, patches: int) -> int:
        """How many of an image's patches are hidden.

        Args:
            patches: Patches of an image.

        Raises:
            ValueError: If that would be all or none.
        """
        count = round(self.ratio * patches)
        if not 0 < count < patches:
            raise UserError(
                f"masked_image.ratio={self.ratio} hides {count} of {patches} patch(es); pass "
                "larger images, smaller patches (a trunk of smaller stride) or another ratio"
            )
        return count
