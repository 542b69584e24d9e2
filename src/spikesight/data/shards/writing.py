"""Photos into shards, as they are, in a random order."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch

from spikesight.data.config import DataConfig
from spikesight.data.errors import DataError
from spikesight.data.part_folders import Part
from spikesight.data.sampling import derive_generator
from spikesight.data.shards.index import write_index
from spikesight.data.shards.patterns import find_shards
from spikesight.data.shards.reading import CLASS_LIST
from spikesight.data.sources import EncodedSource
from spikesight.data.splits import find_parts
from spikesight.files.names import show
from spikesight.files.replacing import replaced_file, write_text

_NAMES: dict[Part, str] = {"train": "train", "validation": "val", "test": "test"}
_END = 2 * tarfile.BLOCKSIZE


class Written(NamedTuple):
    """What was written or listed."""

    shards: int
    photos: int


def write_shards(
    config: DataConfig,
    output: Path,
    most_bytes: int,
    seed: int = 0,
    report: Callable[[Path, int], None] | None = None,
) -> Written:
    """Copies photos into tar files, `train-000000.tar` and so on, unchanged and shuffled.

    The photo `00000042.jpg` has the number of its class in `00000042.cls`; the classes' names are
    in `classes.txt`; each shard has an index beside it. The same photos and seed give the same
    files.

    Args:
        config: Which photos: its format, path and class names are looked at.
        output: A folder without files.
        most_bytes: Size that a shard does not pass, unless a single photo does.
        seed: Seed of the order.
        report: Called with each shard that is whole, and its number of photos.

    Raises:
        DataError: The photos cannot be read, are stored decoded, or the folder is not empty.
        WriteError: A file cannot be written.
    """
    if output.exists() and any(output.iterdir()):
        raise DataError(f"{show(output)}: is not empty; pass a folder that does not exist yet")
    sources = {part: read() for part, read in find_parts(config).items()}
    classes: list[str] = []
    for source in sources.values():
        if not isinstance(source, EncodedSource):
            raise DataError(
                f"{source.name}: a data.format of {config.format!r} holds no image files to copy; "
                "it is read into memory as it is, which no shards make faster"
            )
        classes += [name for name in source.classes if name not in classes]
    for name in classes:
        if not name.isprintable() or name != name.strip():
            raise DataError(
                f"the class {name!r} cannot stand in a line of {CLASS_LIST}; rename its folder"
            )
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / CLASS_LIST, "".join(f"{name}\n" for name in classes))
    shards = photos = 0
    for part, source in sources.items():
        assert isinstance(source, EncodedSource)
        for shard in _write_part(source, classes, output / _NAMES[part], most_bytes, seed):
            count = len(write_index(shard).names)
            shards, photos = shards + 1, photos + count
            if report is not None:
                report(shard, count)
    return Written(shards, photos)


def index_shards(path: str) -> Written:
    """Keeps beside each shard of others where its photos lie, so that it is listed only once.

    Args:
        path: As `data.path`.

    Raises:
        DataError: A shard cannot be read.
        WriteError: An index cannot be written.
    """
    counts = [len(write_index(shard).names) for shard in find_shards(path)]
    return Written(len(counts), sum(counts))


def _write_part(
    source: EncodedSource, classes: list[str], stem: Path, most_bytes: int, seed: int
) -> Iterator[Path]:
    """Writes the shards of one part; each is given when it is whole."""
    numbers = [classes.index(name) for name in source.classes]
    order = torch.randperm(len(source.labels), generator=derive_generator(seed)).tolist()
    written = 0
    shard = 0
    while written < len(order):
        path = stem.with_name(f"{stem.name}-{shard:06}.tar")
        with ExitStack() as stack:
            new = stack.enter_context(replaced_file(path))
            file = stack.enter_context(new.open("wb"))
            first = written
            while written < len(order):
                member = order[written]
                position = int(source.positions[member])
                content = source.archive.read(position)
                ending = PurePosixPath(source.archive.names[position]).suffix.lower()
                label = str(numbers[int(source.labels[member])]).encode()
                needed = _size_of(content) + _size_of(label) + _END
                if written > first and file.tell() + needed > most_bytes:
                    break
                _write_member(file, f"{written:08}{ending}", content)
                _write_member(file, f"{written:08}.cls", label)
                written += 1
            file.write(bytes(_END))
        yield path
        shard += 1


def _size_of(content: bytes) -> int:
    return tarfile.BLOCKSIZE * (1 - -len(content) // tarfile.BLOCKSIZE)


def _write_member(file: io.BufferedWriter, name: str, content: bytes) -> None:
    """A head without owner and time, so that the same photos give the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.write(member.tobuf(tarfile.USTAR_FORMAT))
    file.write(content)
    file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
