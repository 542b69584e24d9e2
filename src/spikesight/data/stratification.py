"""A split that takes the same share of every class."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.data.sampling import derive_generator


def split_stratified(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits images class by class.

    Args:
        labels: int64 `[N]`.
        fraction: Share of each class for the second part, rounded to whole images.
        seed: Seed of the choice.

    Returns:
        Positions of the first and of the second part, int64, ascending and disjoint.
    """
    generator = derive_generator(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        chosen[members[order[: round(fraction * len(members))]]] = True
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()
