"""Denoised queries: what is there, noised, from which the decoder learns to make it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.attention import LearnedEmbedding, SinePosition

if TYPE_CHECKING:
    from spikesight.losses.segments import Segments

LABEL_NOISE = 0.2
MASK_NOISE = 0.2
"""Share of the queries with another class, and of a mask's pixels that are lost, and as many found
elsewhere (MP-Former)."""


class NoisedSegments(NamedTuple):
    """Segments of B images as M queries each; those of an image take turns.

    Attributes:
        queries: Embeddings of the classes [B, C, 1, M], some of them wrong.
        masks: [B, M, H, W], without noise; all pixels where an image has no segment.
        segments: Number of the segment behind each query [B, M]; -1 where an image has none.
    """

    queries: Tensor
    masks: Tensor
    segments: Tensor


class SegmentNoise(nn.Module):
    """Makes queries of segments (DN-DETR; masks as in MP-Former, CVPR 2023).

    Args:
        width: Channels C.
        num_classes: Classes K.
        count: Queries M of an image.
    """

    def __init__(self, width: int, num_classes: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.num_classes = num_classes
        self.classes = LearnedEmbedding(width, num_classes)
        self.position = SinePosition(width)

    def forward(self, targets: Sequence[Segments]) -> NoisedSegments:
        """Queries for B images' segments, whose masks have one size."""
        turns = torch.arange(self.count, device=self.classes.weight.device)
        numbers = torch.stack(
            [
                turns % len(t.labels) if len(t.labels) else torch.full_like(turns, -1)
                for t in targets
            ]
        )
        labels, masks = [], []
        for target, segments in zip(targets, numbers, strict=True):
            there = len(target.labels) > 0
            labels.append(target.labels[segments] if there else torch.zeros_like(turns))
            size = target.masks.shape[-2:]
            every = target.masks.new_ones(self.count, *size)
            masks.append(target.masks[segments] if there else every)
        shown = torch.stack(labels)
        wrong = torch.rand(shown.shape, device=shown.device) < LABEL_NOISE
        shown = torch.where(wrong, torch.randint_like(shown, self.num_classes), shown)
        queries = self.classes.weight[0, :, 0].t()[shown].transpose(1, 2).unsqueeze(2)
        return NoisedSegments(queries, torch.stack(masks), numbers)

    def visible(self, masks: Tensor, memory: Tensor) -> Tensor:
        """Pixels of a memory that a query sees: those of its mask, with noise.

        A share of the mask's pixels is lost, and as many pixels elsewhere are found.

        Args:
            masks: Bool [B, M, H, W].
            memory: [T*B, C, h, w].

        Returns:
            [B, M, h * w] of 0 and 1; all 1 where nothing would be left.
        """
        size = (memory.shape[-2], memory.shape[-1])
        inside = (F.adaptive_max_pool2d(masks.to(memory.dtype), size) > 0).flatten(2)
        area = inside.sum(-1, keepdim=True)
        elsewhere = (inside.shape[-1] - area).clamp_min(1)
        flipped = torch.where(inside, MASK_NOISE, MASK_NOISE * area / elsewhere)
        seen = inside ^ (torch.rand(inside.shape, device=inside.device) < flipped)
        visible: Tensor = seen | ~seen.any(-1, keepdim=True)
        return visible.to(memory.dtype)

    def located(self, visible: Tensor, memory: Tensor) -> Tensor:
        """Where queries are: mean positions [B, C, 1, M] of the pixels [B, M, h * w] they see."""
        positions = self.position(memory).flatten(2).transpose(1, 2)
        means: Tensor = visible @ positions / visible.sum(-1, keepdim=True)
        return means.transpose(1, 2).unsqueeze(2)


@contextmanager
def kept_statistics(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within, normalisations see their batch as ever, but running statistics stay as they were."""
    buffers = [
        (owner, name, buffer)
        for module in modules
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    for owner, name, buffer in buffers:
        setattr(owner, name, buffer.clone())
    try:
        yield
    finally:
        for owner, name, buffer in buffers:
            setattr(owner, name, buffer)
