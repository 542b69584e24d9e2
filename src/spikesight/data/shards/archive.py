"""The photos of several shards, read in large blocks as they come along."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from spikesight.data.errors import CorruptImageError
from spikesight.data.shards.index import ShardIndex
from spikesight.files.limits import IMAGE_BYTES
from spikesight.files.names import show
from spikesight.files.opening import open_regular

BLOCK = 1 << 19  # bytes read at once


class ShardArchive:
    """All photos of some shards, one shard after the other, each from front to back.

    Args:
        path: What messages call all of them.
        shards: The tar files and what each holds.

    Attributes:
        shards: Number of each photo's shard, int64 `[N]`.
        bytes_per_photo: Mean over all, with what else lies in the files.
        room: Blocks of 512 KiB that are kept for the photos beside one that was asked for; 0 reads
            each photo alone.
    """

    def __init__(self, path: str, shards: Sequence[tuple[Path, ShardIndex]]) -> None:
        self.path = path
        self.folders: set[str] = set()
        self.repeated: dict[str, str] = {}
        self.room = 0
        self._files = [str(file) for file, _ in shards]
        self._ends = list(accumulate(len(index.names) for _, index in shards))
        self.names = [name for _, index in shards for name in index.names]
        counts = torch.tensor([len(index.names) for _, index in shards])
        self.shards = torch.arange(len(shards)).repeat_interleave(counts)
        self._offsets = torch.tensor([start for _, index in shards for start in index.offsets])
        self._sizes = torch.tensor([size for _, index in shards for size in index.sizes])
        self.bytes_per_photo = sum(index.bytes for _, index in shards) / max(len(self.names), 1)
        self._blocks: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def with_room(self, blocks: int) -> ShardArchive:
        """The same photos, read in blocks of which so many are kept, the newest."""
        other = copy.copy(self)
        other.room, other._blocks = blocks, OrderedDict()
        return other

    def read(self, position: int) -> bytes:
        """The content of photo number `position`.

        Raises:
            CorruptImageError: Its shard cannot be read or ends inside it, or it is larger than the
                limit.
        """
        shard = bisect_right(self._ends, position)
        start, size = int(self._offsets[position]), int(self._sizes[position])
        IMAGE_BYTES.check(size, self.describe(position), CorruptImageError)
        if self.room:
            content = self._read_blocks(shard, start, size)
        else:
            content = self._read_file(shard, start, size)
        if len(content) != size:
            raise CorruptImageError(
                f"{self.describe(position)}: the tar file ends inside it; fetch or make the file "
                "again"
            )
        return content

    def describe(self, position: int) -> str:
        """The tar file's path and the photo's name in it."""
        file = self._files[bisect_right(self._ends, position)]
        return f"{show(file)}: member {show(self.names[position])}"

    def _read_blocks(self, shard: int, start: int, size: int) -> bytes:
        parts = []
        for number in range(start // BLOCK, -(-(start + size) // BLOCK)):
            block = self._blocks.get((shard, number))
            if block is None:
                block = self._read_file(shard, number * BLOCK, BLOCK)
                self._blocks[shard, number] = block
                while len(self._blocks) > self.room:
                    self._blocks.popitem(last=False)
            first = number * BLOCK
            parts.append(block[max(start - first, 0) : start + size - first])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_file(self, shard: int, start: int, size: int) -> bytes:
        # Opened anew each time, as an open file's position is shared between forked processes.
        with open_regular(self._files[shard], CorruptImageError) as file:
            file.seek(start)
            return file.read(size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_blocks": OrderedDict()}
