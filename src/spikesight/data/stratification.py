"""Splits and choices that take the same share of every class."""

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


def split_grouped(
    labels: Tensor, groups: Tensor, fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Splits images by whole groups, in random order, as long as the shares of classes get nearer.

    Args:
        labels: int64 `[N]`.
        groups: Number of the group of each image, int64 `[N]`.
        fraction: Share of each class that the second part comes near to.
        seed: Seed of the order.

    Returns:
        Positions of the first and of the second part, int64, ascending and disjoint.
    """
    generator = derive_generator(seed)
    counts = torch.zeros(int(groups.max()) + 1, int(labels.max()) + 1)
    counts.index_put_((groups, labels), torch.ones(len(labels)), accumulate=True)
    missing = fraction * counts.sum(0)
    taken = torch.zeros(len(counts), dtype=torch.bool)
    for group in torch.randperm(len(counts), generator=generator).tolist():
        after = missing - counts[group]
        if counts[group].any() and after.abs().sum() < missing.abs().sum():
            taken[group], missing = True, after
    chosen = taken[groups]
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()


def choose_stratified(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Chooses images class by class, at least one of each; fewer are a part of more.

    Args:
        labels: int64 `[N]`.
        fraction: Share of each class, rounded to whole images.
        seed: Seed of the choice.

    Returns:
        Positions of what is chosen, int64, ascending.
    """
    generator = derive_generator(seed)
    parts = []
    for label in range(int(labels.max()) + 1):
        members = (labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=generator)
        parts.append(members[order[: max(1, round(fraction * len(members)))]])
    return torch.cat(parts).sort().values
