"""Which photos of a set without a validation part validate."""

from __future__ import annotations

import torch

from spikesight.data.detection.photo_lists import PhotoList
from spikesight.data.errors import DataError
from spikesight.data.sampling import derive_generator


def divide(photos: PhotoList, part: str, fraction: float, seed: int) -> PhotoList:
    """The photos that train, or those that validate; each is in one of the two.

    The choice is a function of the names of the files, the fraction and the seed alone.

    Args:
        photos: All of them.
        part: "train" or "val".
        fraction: Share that validates.
        seed: Seed of the choice.

    Raises:
        DataError: One of the two would be empty.
    """
    names = [photo.file.as_posix() for photo in photos.photos]
    order = sorted(range(len(names)), key=names.__getitem__)
    count = round(fraction * len(order))
    if not 0 < count < len(order):
        raise DataError(
            f"{photos.name}: has no validation part, and objects.validation_fraction {fraction} "
            f"of its {len(order)} photos leaves {len(order) - count} for training and {count} for "
            "validation; pass another fraction"
        )
    shuffled = torch.randperm(len(order), generator=derive_generator(seed)).tolist()
    chosen = shuffled[:count] if part == "val" else shuffled[count:]
    return photos.select([order[place] for place in sorted(chosen)])
