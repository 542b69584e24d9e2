"""Which images come in which order: a pure function of the seed and the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

_GOLDEN = (math.sqrt(5) - 1) / 2


def derive_seed(*keys: int) -> int:
    """Mixes several numbers into one 63-bit seed.

    Args:
        keys: Numbers of at least 0, such as the seed, the epoch and the batch; their order counts.

    Returns:
        A seed for `torch.Generator.manual_seed`.
    """
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def derive_generator(*keys: int) -> torch.Generator:
    """A CPU generator that is a pure function of several numbers; see `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*keys))


def filled_batch_size(wanted: int, samples: int, batches: int = 1, *, even: bool = False) -> int:
    """The largest batch, up to what is wanted, of which an epoch fills enough.

    Args:
        wanted: Images per batch.
        samples: Images of an epoch.
        batches: Batches that must be full.
        even: Whether a batch must hold pairs.

    Returns:
        Images per batch; 0 if there are too few.
    """
    size = min(wanted, samples // batches)
    return size - size % 2 if even and size < wanted else size


@dataclass(eq=False)
class EpochSampler(Sampler[int]):
    """Training order of one process, a pure function of the seed and the epoch.

    Process `rank` takes every `world_size`-th image, so that the processes' batches together are
    the consecutive images of one common order, and every process has the same number of them.

    Attributes:
        dataset_size: Number of images.
        seed: Seed of the order, at least 0.
        rank: Number of this process.
        world_size: Number of processes.
        shuffle: False keeps the order of the data set.
        drop_last: Leave out the last images that do not fill all processes; otherwise the first
            images of the epoch's order come again.
        epoch: Number of the epoch, at least 0.
        start: Number of this process's images to leave out, because they were seen already.
    """

    dataset_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    shuffle: bool = True
    drop_last: bool = True
    epoch: int = field(default=0, init=False)
    start: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world_size

    @property
    def samples_per_epoch(self) -> int:
        """Number of images that this process takes in a whole epoch."""
        share = self.dataset_size // self.world_size
        return share if self.drop_last else -(-self.dataset_size // self.world_size)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Chooses the epoch, and how much of it lies behind."""
        self.epoch, self.start = epoch, start

    def order(self) -> Tensor:
        """The positions of the whole epoch over all processes, int64 `[N]`."""
        if not self.shuffle:
            return torch.arange(self.dataset_size)
        generator = derive_generator(self.seed, self.epoch)
        return torch.randperm(self.dataset_size, generator=generator)

    def indices(self) -> Tensor:
        """The positions of this epoch's images that are still to come, int64."""
        order = self.order()
        total = self.samples_per_epoch * self.world_size
        if total > self.dataset_size:
            order = order.repeat(-(-total // self.dataset_size))
        return order[self.rank : total : self.world_size][self.start :]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return max(self.samples_per_epoch - self.start, 0)


class EvaluationSampler(Sampler[int]):
    """Evaluation order of one process: over all processes every image comes exactly once.

    The first images are spread evenly over the data set, however many are taken: many data sets
    are sorted by class.

    Nothing is padded, so processes may differ by one image and by one batch: gather sums when
    all are done, not batch by batch.

    Args:
        dataset_size: Number of images.
        rank: Number of this process.
        world_size: Number of processes.
        in_order: Keep the order of the data set instead.
    """

    def __init__(
        self, dataset_size: int, rank: int = 0, world_size: int = 1, in_order: bool = False
    ) -> None:
        assert 0 <= rank < world_size
        order = list(range(dataset_size))
        if not in_order:
            order.sort(key=lambda position: position * _GOLDEN % 1)
        self.positions = order[rank::world_size]

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)
