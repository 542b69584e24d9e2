"""Boxes from the maps of a dense detector, on the host."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.detection_outputs import DenseDetection
from spikesight.inference.config import DetectionConfig
from spikesight.objects import Detections

_CANDIDATES = 1000
"""Pairs of pixel and class that are looked at, the best of an image."""


@torch.no_grad()
def decode_detections(
    output: DenseDetection, size: tuple[int, int], config: DetectionConfig | None = None
) -> list[Detections]:
    """The objects of each image.

    A pixel's score for a class is the geometric mean of the class's probability and the centre's;
    boxes are clipped to the image, and of boxes of one class that overlap the best stays
    (non-maximum suppression).

    Args:
        output: Of a batch of B images.
        size: Height and width of the input.
        config: What is kept.

    Returns:
        B images' detections in pixels of the input, the best first, on the CPU.
    """
    config = config or DetectionConfig()
    candidates = output.candidates(size)
    quality = candidates.centres.sigmoid()[..., None]
    scores = (candidates.classes.sigmoid() * quality).sqrt()
    height, width = size
    limits = candidates.boxes.new_tensor((width, height, width, height))
    boxes = candidates.boxes.clamp_min(0).minimum(limits)
    return [_kept(*image, config) for image in zip(boxes, scores, strict=True)]


def _kept(boxes: Tensor, scores: Tensor, config: DetectionConfig) -> Detections:
    from torchvision.ops import batched_nms

    flat = scores.flatten()
    best = flat.topk(min(_CANDIDATES, len(flat)))
    chosen = best.indices[best.values >= config.score_threshold]
    places, classes = chosen // scores.shape[1], chosen % scores.shape[1]
    found, score = boxes[places].float(), flat[chosen].float()
    solid = (found[:, 2:] > found[:, :2]).all(1)
    found, score, classes = found[solid], score[solid], classes[solid]
    kept = batched_nms(found, score, classes, config.nms_iou)[: config.most]
    return Detections(found[kept], classes[kept], score[kept]).to("cpu")
