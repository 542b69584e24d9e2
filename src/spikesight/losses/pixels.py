"""The loss of per-pixel segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.losses.segments import Segments
from spikesight.segmentation_outputs import PixelSegmentation

_VOID = -100


class PixelLoss(nn.Module):
    """Cross-entropy of every pixel's class, at the ground truth's resolution.

    Args:
        num_classes: Classes K.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, output: PixelSegmentation, targets: Sequence[Segments]) -> dict[str, Tensor]:
        """The mean over the pixels that have a class.

        Args:
            output: Of a batch of B images.
            targets: B images' segments, masks of one size; pixels of none are left out.

        Returns:
            Scalars "pixels" and "total", the same; 0 where no pixel has a class.

        Raises:
            UserError: If the numbers of images or classes do not fit.
        """
        batch, classes = output.pixel_logits.shape[:2]
        if len(targets) != batch:
            raise UserError(f"{batch} images but segments of {len(targets)}; pass one per image")
        if classes != self.num_classes:
            raise UserError(
                f"the output has {classes} classes, the loss expects {self.num_classes}; pass "
                f"num_classes={classes}"
            )
        for target in targets:
            target.check_below(self.num_classes)
        loss = pixel_loss(output.pixel_logits, targets)
        return {"pixels": loss, "total": loss}


def pixel_loss(logits: Tensor, targets: Sequence[Segments]) -> Tensor:
    """Mean cross-entropy of the pixels that have a class, in float32 or more; 0 where none has.

    Args:
        logits: [B, K, h, w]; they are enlarged to the masks' size.
        targets: B images' segments, masks of one size.
    """
    labels = torch.stack([_label_map(target) for target in targets])
    size = labels.shape[-2:]
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    enlarged = F.interpolate(wide, size, mode="bilinear", align_corners=False)
    summed = F.cross_entropy(enlarged, labels, ignore_index=_VOID, reduction="sum")
    return summed / (labels != _VOID).sum().clamp_min(1)


def _label_map(segments: Segments) -> Tensor:
    """The class of every pixel [H, W], void where there is none."""
    classes = torch.full(
        segments.masks.shape[-2:], _VOID, dtype=torch.int64, device=segments.masks.device
    )
    for label, mask in zip(segments.labels, segments.masks, strict=True):
        classes[mask] = label
    return classes
