"""The command line's view of shards: call, then print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spikesight.errors import UserError
from spikesight.files.names import show
from spikesight.files.writing import place_for_folder

_MIB = 1 << 20


def shards_command(
    photos: str,
    output: Path | None = None,
    megabytes: int = 256,
    seed: int = 0,
    data: dict[str, Any] | None = None,
) -> None:
    """Packs photos into tar files of webdataset's layout, in a random order.

    The photos are copied as they are. Train on the folder with --data.format=shards, or with
    spikesight train OUTPUT. Without an output, the photos are shards already: beside each, an index
    is written, so that starting a run need not list them again.

    Args:
        photos: Folder or tar file with one folder of photos per class, maybe in train/, val/ and
            test/; or shards.
        output: Folder to write.
        megabytes: Size of a shard, in MiB.
        seed: Seed of the order.
        data: How photos of another kind are read, such as --data.format of a data set of your own.
    """
    from spikesight.data import DataConfig
    from spikesight.data.shards.patterns import holds_shards
    from spikesight.data.shards.writing import index_shards, write_shards
    from spikesight.training.config import from_mapping

    if output is None:
        written = index_shards(photos)
        print(
            f"{written.photos:,} photos in {written.shards:,} shards; each has an index beside it"
        )
        return
    if megabytes < 1:
        raise UserError(f"megabytes is {megabytes}; pass 1 or more")
    place_for_folder(output, "output")
    usual = "folder" if os.path.isdir(photos) else "tar"
    kind = "shards" if holds_shards(photos) else usual
    config = from_mapping(DataConfig, {"format": kind, "path": photos, **(data or {})})
    written = write_shards(config, output, megabytes * _MIB, seed, _report)
    print(f"{written.photos:,} photos in {written.shards:,} shards in {show(output)}")


def _report(shard: Path, photos: int) -> None:
    print(f"{show(shard)}: {photos:,} photos", flush=True)
