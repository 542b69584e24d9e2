"""The loss of per-mask segmentation: matching, classes and masks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from spikesight.losses.segments import Segments
from spikesight.models.spike2former.output import Segmentation


class SegmentationLoss(nn.Module):
    """Matches queries with segments and compares classes and masks (MaskFormer style).

    Args:
        num_classes: Classes K.
        class_weight: Weight of the cross-entropy of classes.
        mask_weight: Weight of the masks' focal loss.
        dice_weight: Weight of the masks' dice loss.
        no_object_weight: Weight of the class "no object" in the cross-entropy.
        deep_supervision: Whether the auxiliary outputs are compared as well.
        auxiliary_pixel_loss: Weight of an additional cross-entropy per pixel; 0 for none.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object_weight: float = 0.1,
        deep_supervision: bool = True,
        auxiliary_pixel_loss: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, output: Segmentation, targets: Sequence[Segments]) -> dict[str, Tensor]:
        """Named terms, weighted and summed over outputs, and their sum "total".

        Args:
            output: Of a batch of B images.
            targets: B images' segments; masks at any resolution.
        """
        raise NotImplementedError
