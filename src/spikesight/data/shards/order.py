"""The order in which the photos of shards train: from front to back, mixed in a buffer."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spikesight.data.sampling import EpochSampler, derive_generator
from spikesight.data.shards.archive import BLOCK, ShardArchive
from spikesight.data.sources import EncodedSource, Source

logger = logging.getLogger(__name__)
_FEWEST, _MOST = 8, 64  # places of the data set that an update takes its photos from
_PHOTOS_OF_A_PLACE = 16  # in an update, before it takes from more places
_IN_TURN = 4  # updates until one takes from the same places again


@dataclass(eq=False, kw_only=True)
class ShardSampler(EpochSampler):
    """Training order of one process for photos that are read from front to back.

    The shards of an epoch follow each other in a random order. This one long row is read at many
    places at once: cut into as many pieces, each of which is read from its front to its end. The
    photos of a piece come out of a shuffle buffer, each up to so many places later than it lies.
    Pieces are dealt to the photos of an update, 8 to each (more to large ones), and to four updates
    in turn; so processes (if their number is a power of two) and workers (if there are 2 or 4) read
    different pieces.

    As in the base, the order is a pure function of the seed and the epoch (and of the number of
    photos in an update), the same for any number of processes and workers: each photo comes once,
    each process has equally many however unequal the shards are, and a resumed run goes on where it
    stopped.

    Attributes:
        shards: Number of each photo's shard, int64 `[N]`; within a shard from front to back.
        update: Photos of an update over all processes.
        buffer: Photos over all processes among which the next is drawn.
    """

    shards: Tensor
    update: int
    buffer: int

    @property
    def _places(self) -> int:
        """Pieces that an update takes photos from, a power of two."""
        wanted = 1 << max(self.update // _PHOTOS_OF_A_PLACE, 1).bit_length() - 1
        return min(max(wanted, _FEWEST), _MOST)

    @property
    def _reach(self) -> int:
        """Photos of one piece that are in the buffer."""
        return max(self.buffer // (self._places * _IN_TURN), 1)

    def order(self) -> Tensor:
        """The photos of the whole epoch over all processes, int64 `[N]`."""
        count, pieces = self.dataset_size, self._places * _IN_TURN
        generator = derive_generator(self.seed, self.epoch)
        turns = torch.randperm(int(self.shards.max()) + 1, generator=generator)
        row = torch.argsort(turns[self.shards], stable=True)
        # Where there are few shards, pieces and their company differ from epoch to epoch all the
        # same.
        row = row.roll(int(torch.randint(count, (), generator=generator)))
        along = torch.randperm(pieces, generator=generator)

        number = torch.arange(count)
        dealt = number % self._places + self._places * (number // self.update % _IN_TURN)
        lengths = dealt.bincount(minlength=pieces)[along]
        piece = torch.arange(pieces).repeat_interleave(lengths)
        late = torch.rand(count, generator=generator, dtype=torch.float64) * self._reach
        mixed = row[torch.argsort(number + piece * self._reach + late, stable=True)]

        order = torch.empty_like(row)
        order[torch.argsort(along.argsort()[dealt], stable=True)] = mixed
        return order

    def blocks(self, bytes_per_photo: float, workers: int, accumulation: int = 1) -> int:
        """Blocks that a process must keep so that it reads each once.

        Args:
            bytes_per_photo: Mean distance of photos in the files.
            workers: Processes that read for this one; 0 if it reads itself.
            accumulation: Batches of an update.
        """
        step = max(workers, 1)
        batches = range(0, step * accumulation * _IN_TURN, step)
        turns = len({batch // accumulation % _IN_TURN for batch in batches})
        pieces = self._places // math.gcd(self._places, self.world_size) * turns
        return pieces * (math.ceil(self._reach * bytes_per_photo / BLOCK) + 2)


def in_reading_order(
    source: Source,
    order: EpochSampler,
    batch_size: int,
    accumulation: int,
    buffer: int,
    workers: int,
) -> tuple[Source, EpochSampler]:
    """Lets shards that the buffer does not hold be read from front to back, in large blocks.

    Args:
        source: What trains.
        order: The order in which it would be read wherever it lies.
        batch_size: Photos per batch and process.
        accumulation: Batches of an update.
        buffer: Photos over all processes among which the next is drawn.
        workers: Processes that read for this one; 0 if it reads itself.

    Returns:
        The source and its order; the same ones where all photos fit into the buffer, or are no
        shards.
    """
    if not isinstance(source, EncodedSource) or not isinstance(source.archive, ShardArchive):
        return source, order
    if len(source.labels) <= buffer:
        return source, order
    archive = source.archive
    if order.rank == 0 and _lie_by_class(source.labels):
        logger.warning(
            "%s: the photos lie class by class, so batches hold few classes however they are mixed "
            "in the buffer of %d; write the shards again with spikesight shards, which shuffles",
            source.name,
            buffer,
        )
    in_order = ShardSampler(
        order.dataset_size,
        order.seed,
        order.rank,
        order.world_size,
        drop_last=order.drop_last,
        shards=archive.shards[source.positions],
        update=batch_size * accumulation * order.world_size,
        buffer=buffer,
    )
    room = in_order.blocks(archive.bytes_per_photo, workers, accumulation)
    return replace(source, archive=archive.with_room(room)), in_order


def _lie_by_class(labels: Tensor) -> bool:
    """Whether neighbours are of one class far more often than in a random order."""
    shares = labels.bincount() / len(labels)
    changes = (labels[1:] != labels[:-1]).float().mean()
    return bool(changes < 0.1 * (1 - shares.square().sum()))
