"""How images are masked in pre-training, as it stands in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.errors import UserError
from spikesight.files.ranges import Layers, Side, Width
from spikesight.options import check_options


@dataclass(frozen=True)
class MaskedImageSizes:
    """How images are masked, and the decoder.

    Args:
        ratio: Share of the patches that is hidden, in (0, 1).
        patch: Side of a patch in pixels; a multiple of the trunk's stride, which it is if omitted.
        width: Channels of the decoder; divisible by 4 and by `heads`.
        depth: Blocks of the decoder.
        heads: Attention heads of the decoder.
    """

    ratio: float = 0.75
    patch: Side | None = None
    width: Width = 64
    depth: Layers = 2
    heads: Width = 4

    def __post_init__(self) -> None:
        check_options(self, "masked_image.")
        if not 0.0 < self.ratio < 1.0:
            raise UserError(f"masked_image.ratio is {self.ratio}; pass one in (0, 1)")
        if self.width % 4 or self.width % self.heads:
            raise UserError(
                f"masked_image.width is {self.width}; pass one divisible by 4 and by "
                f"masked_image.heads={self.heads}"
            )

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
