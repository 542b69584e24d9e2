"""How often two models answer alike, without knowing what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from spikesight.inference.semantic import semantic_scores
from spikesight.segmentation_outputs import PixelSegmentation, Segmentation


@torch.inference_mode()
def agreement(
    first: Callable[[Tensor], Any], second: Callable[[Tensor], Any], batches: Iterable[Tensor]
) -> float | None:
    """The share of images, or of a segmenter's pixels, to which two models give the same class.

    Args:
        first: A model in evaluation mode.
        second: Another one with the same classes.
        batches: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]).

    Returns:
        The share in [0, 1]; None of models that answer with boxes.
    """
    same, seen = 0, 0
    for batch in batches:
        answers = [_classes(model(batch), tuple(batch.shape[-2:])) for model in (first, second)]
        if answers[0] is None or answers[1] is None:
            return None
        same += int((answers[0] == answers[1]).sum())
        seen += answers[0].numel()
    return same / seen if seen else None


def _classes(output: Any, size: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output.argmax(1)
    if isinstance(output, PixelSegmentation | Segmentation):
        return semantic_scores(output, size, size).argmax(1)
    return None
