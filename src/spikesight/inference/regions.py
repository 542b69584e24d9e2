"""From masks in the frames of their boxes to masks of an image: host code."""

from __future__ import annotations

import torch

from spikesight.models.mask_rcnn import RegionDetections
from spikesight.objects import Detections

_INSIDE = 0.5


def paste_masks(found: RegionDetections, size: tuple[int, int]) -> Detections:
    """Objects with masks of the image's size, a pixel belonging to one where that is likelier.

    Args:
        found: What a two-stage detector found in an image.
        size: Height and width of the image.
    """
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    pasted = torch.zeros(0, *size, dtype=torch.bool, device=found.boxes.device)
    if len(found.boxes):
        probable = paste_masks_in_image(found.masks[:, None].float(), found.boxes, size)
        pasted = probable[:, 0] >= _INSIDE
    return Detections(found.boxes, found.classes, found.scores, pasted)
