"""Class scores of every pixel, also from classified masks (MaskFormer, arXiv 2107.06278, eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from spikesight.segmentation_outputs import PixelSegmentation, Segmentation

LARGEST_MAP = 2**27
"""Numbers in a map of queries or classes that is resized at once: half a gigabyte."""


def enlarge_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes mask logits bilinearly.

    Args:
        masks: [Q, h, w].
        size: Height and width.
    """
    return interpolate(masks[None], size, mode="bilinear", align_corners=False)[0]


def semantic_scores(
    output: Segmentation | PixelSegmentation,
    size: tuple[int, int],
    crop: tuple[int, int],
    largest: int = LARGEST_MAP,
) -> Tensor:
    """Scores of every class at every pixel.

    The masks are resized to the padded input's size and the padding is cut off. Then scores =
    softmax(classes) without "no object", weighted with sigmoid(masks) and summed over the queries.
    Logits of pixels are resized likewise; scores = softmax(logits).

    Args:
        output: Of a batch.
        size: Height and width of the model's input, padding included.
        crop: Height and width of the input without padding.
        largest: Numbers in the masks of all queries above which they are summed one by one.

    Returns:
        Scores [B, K, *crop]; not normalised.
    """
    height, width = crop
    if isinstance(output, PixelSegmentation):
        shown = interpolate(output.pixel_logits.float(), size, mode="bilinear", align_corners=False)
        return shown[..., :height, :width].softmax(1)
    classes = output.class_logits.float().softmax(-1)[..., :-1]
    scores = []
    for weights, masks in zip(classes, output.mask_logits.float(), strict=True):
        rows = max(largest // (len(masks) * size[1]), 1)
        if rows >= size[0]:
            shown = enlarge_masks(masks, size)[:, :height, :width].sigmoid()
            scores.append(torch.einsum("qc,qhw->chw", weights, shown))
        else:  # query by query
            total = weights.new_zeros(weights.shape[1], height, width)
            for weight, mask in zip(weights, masks, strict=True):
                shown = enlarge_masks(mask[None], size)[0, :height, :width].sigmoid()
                total += weight[:, None, None] * shown
            scores.append(total)
    return torch.stack(scores)


def highest(scores: Tensor) -> Tensor:
    """Which of the scores [K, h, w] is highest at every pixel, int64 [h, w]."""
    # Over the first axis argmax is five times as slow on a CPU.
    return scores.max(0).indices


def class_map(scores: Tensor, size: tuple[int, int], largest: int = LARGEST_MAP) -> Tensor:
    """The class with the highest score at every pixel, int64 [*size].

    Args:
        scores: [K, h, w].
        size: Height and width; scores are resized bilinearly.
        largest: Numbers in the resized scores above which the classes are taken one by one.
    """
    if tuple(scores.shape[1:]) == size:
        return highest(scores)
    if len(scores) * size[0] * size[1] <= largest:
        return highest(enlarge_masks(scores, size))
    best = enlarge_masks(scores[:1], size)[0]
    classes = torch.zeros(size, dtype=torch.int64, device=scores.device)
    for number in range(1, len(scores)):
        score = enlarge_masks(scores[number : number + 1], size)[0]
        classes[score > best] = number
        best = torch.maximum(best, score)
    return classes
