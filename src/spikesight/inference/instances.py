"""Instances from classified masks (Mask2Former, arXiv 2112.01527)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Instance:
    """One object.

    Attributes:
        label: Its class.
        score: Probability of the class times the mean probability of the mask's pixels.
        mask: bool [H, W].
    """

    label: int
    score: float
    mask: Tensor


def instance_masks(
    class_logits: Tensor, masks: Tensor, things: tuple[int, ...], most: int = 100
) -> list[Instance]:
    """The best objects of a photo; masks may overlap.

    Args:
        class_logits: [Q, K + 1]; the last class is "no object".
        masks: Mask logits at the photo's size [Q, H, W].
        things: Numbers of the thing classes.
        most: Largest number of pairs of query and class that are looked at.

    Returns:
        Objects with a mask of at least one pixel, the best first.
    """
    scores = class_logits.float().softmax(-1)[:, :-1]
    best = scores.flatten().topk(min(most, scores.numel()))
    found = []
    for value, position in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        query, label = divmod(position, scores.shape[1])
        if label not in things:
            continue
        mask = masks[query] > 0
        if not mask.any():
            continue
        quality = float(masks[query].float().sigmoid()[mask].mean())
        found.append(Instance(label, value * quality, mask.cpu()))
    return sorted(found, key=lambda instance: -instance.score)
