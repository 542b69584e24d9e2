"""Makes small shards as others write them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.data.image_files import encode


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def samples(numbers: Iterable[int], classes: int = 3) -> list[tuple[str, bytes]]:
    """Photo `n` is noise of seed n, of class n modulo `classes`."""
    return [
        member
        for number in numbers
        for member in (
            (f"{number:05}.png", encode(size=(12, 10), seed=number)),
            (f"{number:05}.cls", str(number % classes).encode()),
        )
    ]


def write_shards(folder: Path, lengths: Iterable[int], name: str = "train") -> Path:
    first = 0
    for shard, length in enumerate(lengths):
        write_tar(folder / f"{name}-{shard:04}.tar", samples(range(first, first + length)))
        first += length
    return folder
