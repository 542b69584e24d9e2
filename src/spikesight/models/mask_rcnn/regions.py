"""Host code between and behind the stages: torchvision's proposals, RoIAlign, losses and NMS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesight.errors import UserError
from spikesight.models.mask_rcnn.heads import BOX_SIDE, MASK_SIDE, join_corners
from spikesight.models.mask_rcnn.outputs import RegionDetections, RegionMaps
from spikesight.models.mask_rcnn.proposals import RATIOS
from spikesight.objects import Objects

Head = Callable[[Tensor], tuple[Tensor, ...]]
Targets = list[dict[str, Tensor]]

_NAMES = {
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "proposals",
    "loss_classifier": "classes",
    "loss_box_reg": "boxes",
    "loss_mask": "masks",
}
LOSSES = tuple(_NAMES.values())
"""Names of the losses: two of the first stage, three of the second."""


def wanted_regions(targets: Sequence[Objects]) -> Targets:
    """What there is in each image in torchvision's words; of crowds nothing is learned.

    Raises:
        UserError: If objects have no masks.
    """
    return [_wanted(objects) for objects in targets]


def propose_regions(
    images: Tensor,
    maps: RegionMaps,
    strides: Sequence[int],
    anchor_scale: float,
    most: int,
    targets: Targets | None,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Regions [N, 4] of each image that may be objects.

    Args:
        images: What was shown.
        maps: What the first stage made of it.
        strides: Of each level, finest first.
        anchor_scale: Side of a square anchor over the stride.
        most: Regions of an image.
        targets: What there is, in training.

    Returns:
        The regions and, in training, the losses by name.
    """
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.rpn import RegionProposalNetwork

    objectness, deltas = _precise(maps.objectness), _precise(maps.deltas)
    sides = tuple((anchor_scale * stride,) for stride in strides)
    proposals = RegionProposalNetwork(
        AnchorGenerator(sides, (RATIOS,) * len(sides)),  # type: ignore[no-untyped-call]
        lambda _: (objectness, deltas),  # type: ignore[arg-type]
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 2 * most, "testing": most},
        post_nms_top_n={"training": most, "testing": most},
        nms_thresh=0.7,
    )
    proposals.training = targets is not None
    shown = ImageList(images, _sizes(images))
    regions, losses = proposals(shown, _named(objectness), targets)
    return regions, _renamed(losses)


def judge_regions(
    images: Tensor,
    maps: RegionMaps,
    regions: list[Tensor],
    box_head: Head,
    mask_head: Head,
    sampled: int,
    kept: Mapping[str, Any],
    targets: Targets | None,
) -> tuple[list[RegionDetections], dict[str, Tensor]]:
    """What the heads say of regions.

    Args:
        images: What was shown.
        maps: What the first stage made of it.
        regions: Regions of each image.
        box_head: As `BoxHead`.
        mask_head: As `MaskHead`.
        sampled: Regions of an image that the box head learns from.
        kept: torchvision's score_thresh, nms_thresh and detections_per_img.
        targets: What there is, in training.

    Returns:
        What was found in each image or, in training, nothing; and the losses by name.
    """
    from torchvision.models.detection.roi_heads import RoIHeads
    from torchvision.ops import MultiScaleRoIAlign

    levels, learns = _named(_precise(maps.levels)), targets is not None
    heads = RoIHeads(  # type: ignore[no-untyped-call]
        MultiScaleRoIAlign(list(levels), BOX_SIDE, 2),
        lambda cut: _of_some(box_head, cut) if learns else box_head(cut),
        _classes_and_boxes,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=sampled,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        mask_roi_pool=MultiScaleRoIAlign(list(levels), MASK_SIDE, 2),
        mask_head=lambda cut: _of_some(mask_head, cut) if learns else mask_head(cut),
        mask_predictor=_masks,
        **kept,
    )
    heads.training = learns
    found, losses = heads(levels, regions, _sizes(images), targets)
    detections = [
        RegionDetections(
            one["boxes"].float(), one["labels"] - 1, one["scores"].float(), one["masks"].squeeze(1)
        )
        for one in found
    ]
    return detections, _renamed(losses)


def _wanted(objects: Objects) -> dict[str, Tensor]:
    if objects.masks is None:
        raise UserError(
            "Mask R-CNN learns masks and the objects have boxes alone; pass objects with masks, or "
            "take a model that gives boxes"
        )
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    learned = objects[~objects.crowd & (sides > 0).all(1)]
    assert learned.masks is not None
    return {"boxes": learned.boxes, "labels": learned.classes + 1, "masks": learned.masks}


def _of_some(head: Head, regions: Tensor) -> tuple[Tensor, ...]:
    """What a head learns from regions; where there are none its gradients are zero."""
    if len(regions):
        return head(regions)
    blank = regions.new_zeros(2, *regions.shape[1:])
    return tuple(output[:0] for output in head(blank))


def _classes_and_boxes(outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """[R, K + 1] and [R, 4 (K + 1)]: no object has a box too in torchvision's, one of zeros."""
    classes, deltas = (output.flatten(1) for output in _precise(outputs))
    return classes, F.pad(deltas, (4, 0))


def _masks(outputs: tuple[Tensor, ...]) -> Tensor:
    """[R, K + 1, M, M]: no object has a mask too in torchvision's, one of zeros."""
    return F.pad(join_corners(tuple(_precise(outputs))), (0, 0, 0, 0, 1, 0))


def _precise(tensors: Sequence[Tensor]) -> list[Tensor]:
    """In float32 at least."""
    return [x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors]


def _named(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(level): x for level, x in enumerate(tensors)}


def _sizes(images: Tensor) -> list[tuple[int, int]]:
    height, width = images.shape[-2:]
    return [(height, width)] * len(images)


def _renamed(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_NAMES[name]: loss for name, loss in losses.items()}
