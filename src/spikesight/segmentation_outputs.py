"""What segmenters return, whatever model they are: classified masks or classified pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segmentation:
    """Q classified masks per image (MaskFormer's per-mask classification).

    Attributes:
        class_logits: [B, Q, K + 1]; the last class is "no object".
        mask_logits: [B, Q, h, w], at the finest resolution of the trunk; sigmoid gives the
            probability that a pixel belongs to the query's segment.
        auxiliary: In training the outputs of the initial query and of every decoder layer but the
            last, first to last, for deep supervision; empty in evaluation mode.
        pixel_logits: In training [B, K, h_i, w_i] of every pixel head of a model that has them.
        denoised: In training what a model that was told the segments made of them, noised.
    """

    class_logits: Tensor
    mask_logits: Tensor
    auxiliary: tuple[Segmentation, ...] = ()
    pixel_logits: tuple[Tensor, ...] = ()
    denoised: DenoisedSegments | None = None

    def float(self) -> Segmentation:
        """The same with logits in float32 where they are in half precision."""
        return Segmentation(
            _float(self.class_logits),
            _float(self.mask_logits),
            tuple(output.float() for output in self.auxiliary),
            tuple(_float(logits) for logits in self.pixel_logits),
            None if self.denoised is None else self.denoised.float(),
        )


@dataclass(frozen=True)
class DenoisedSegments:
    """M classified masks per image that began as noised segments.

    Attributes:
        outputs: Those of every decoder layer, first to last.
        segments: Number of the segment behind each query [B, M]; -1 where an image has none.
    """

    outputs: tuple[Segmentation, ...]
    segments: Tensor

    def float(self) -> DenoisedSegments:
        """The same with logits in float32 where they are in half precision."""
        return DenoisedSegments(tuple(o.float() for o in self.outputs), self.segments)


@dataclass(frozen=True)
class PixelSegmentation:
    """A class for every pixel (per-pixel classification).

    Attributes:
        pixel_logits: [B, K, h, w], at the finest resolution of the trunk.
    """

    pixel_logits: Tensor


def _float(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
