"""Randomness that depends on the place in a run and on nothing that came before."""

from __future__ import annotations

import random

import numpy as np
import torch

from spikesight.data.sampling import derive_seed


def seed_everything(*place: int) -> None:
    """Sets the generators of python, numpy and torch (all devices) for a place in a run.

    A run calls this before every batch. Mixup, drop path and whatever else draws random numbers
    then does not depend on the batches before, so a resumed run needs no generator state, on any
    number of devices, to continue bit for bit.

    Args:
        *place: Non-negative numbers that name the place, such as (seed, rank, epoch, batch).
    """
    seed = derive_seed(*place)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 timm's Mixup draws from this generator
    torch.manual_seed(seed)
