"""What one shard holds: where its photos lie, and of which class each is."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from spikesight.data.archives import TarArchive
from spikesight.data.errors import DataError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.files.documents import parse_json, read_json
from spikesight.files.limits import ANNOTATION_BYTES, DOCUMENT_BYTES
from spikesight.files.names import check_name, show
from spikesight.files.opening import decode_text, open_regular
from spikesight.files.replacing import replaced_file

_HEAD = 4096  # bytes that tell whether a shard is still the one that was listed
_LONGEST_NAME = 1000
_REMEDY = "remove it, or make it again with spikesight shards"
Label = int | str


@dataclass(frozen=True)
class ShardIndex:
    """The photos of one shard, in the order of their places.

    Attributes:
        bytes: Size of the tar file.
        head: Checksum of its first 4 KiB (CRC-32).
        names: Each photo's name in the tar file.
        offsets: Its first byte.
        sizes: Its number of bytes.
        labels: The number of its class, or the class's name.
    """

    bytes: int
    head: int
    names: list[str]
    offsets: list[int]
    sizes: list[int]
    labels: list[Label]


class _Described(msgspec.Struct):
    """What is looked at in a photo's JSON file."""

    label: Label | None = None
    cls: Label | None = None


def index_path(shard: Path) -> Path:
    """Where a shard's index is kept: beside it."""
    return shard.with_name(f"{shard.name}.index")


def write_index(shard: Path) -> ShardIndex:
    """Lists a shard and keeps the list beside it.

    Raises:
        DataError: As of `list_shard`.
        WriteError: It cannot be written.
    """
    index = list_shard(shard)
    with replaced_file(index_path(shard)) as new:
        new.write_bytes(msgspec.json.encode(index))
    return index


def read_index(shard: Path) -> ShardIndex | None:
    """The index beside a shard; None if there is none.

    Raises:
        DataError: It is damaged, or of another file than the shard that lies there now.
    """
    path = index_path(shard)
    if not os.path.lexists(path):
        return None
    index = read_json(path, ShardIndex, remedy=_REMEDY, limit=ANNOTATION_BYTES, error=DataError)
    columns = (index.names, index.offsets, index.sizes, index.labels)
    if len({len(column) for column in columns}) > 1:
        raise DataError(f"{show(path)}: its lists differ in length; {_REMEDY}")
    if (index.bytes, index.head) != _fingerprint(shard):
        raise DataError(f"{show(path)}: was made of another {show(shard.name)}; {_REMEDY}")
    previous = 0
    for name, start, size, label in zip(*columns, strict=True):
        if start < previous or size < 0 or start + size > index.bytes:
            raise DataError(f"{show(path)}: {show(name)} lies where it cannot; {_REMEDY}")
        check_name(name, show(path), DataError)
        _checked_label(label, f"{show(path)}: {show(name)}")
        previous = start + size
    return index


def list_shard(shard: Path) -> ShardIndex:
    """Reads the heads of all members of a shard, and the labels.

    A photo `key.jpg` (or of another kind of image) has its class in `key.cls`, a number from 0 or
    a name; or in the field `label` or `cls` of `key.json`. The key ends at the first dot of the
    name; `key.other.png` and other files are no photos and left alone.

    Raises:
        DataError: It is no plain tar file or damaged, holds no photo, or one that has no label or
            a damaged one, or two photos of one key.
    """
    archive = TarArchive(shard, plain=True)
    photos: dict[str, str] = {}
    for name in archive.names:
        key, ending = _key(name)
        if f".{ending}".lower() not in IMAGE_SUFFIXES:
            continue
        check_name(name, show(shard), DataError)
        if key in photos:
            raise DataError(
                f"{show(shard)}: members {show(photos[key])} and {show(name)} are two photos of "
                "one key; give each its own"
            )
        photos[key] = name
    if not photos:
        raise DataError(
            f"{show(shard)}: holds no photo ({', '.join(sorted(IMAGE_SUFFIXES))}); pass shards of "
            "photos, or leave it out of data.path"
        )
    chosen = sorted((*archive.spans[name], name, key) for key, name in photos.items())
    with open_regular(shard, DataError) as file:
        labels = [_read_label(file, archive, key, name) for _, _, name, key in chosen]
    size, head = _fingerprint(shard)
    return ShardIndex(
        size,
        head,
        [name for _, _, name, _ in chosen],
        [start for start, _, _, _ in chosen],
        [length for _, length, _, _ in chosen],
        labels,
    )


def _key(name: str) -> tuple[str, str]:
    """A member's key and ending."""
    path = PurePosixPath(name)
    first, _, ending = path.name.partition(".")
    return str(path.with_name(first)), ending


def _fingerprint(shard: Path) -> tuple[int, int]:
    with open_regular(shard, DataError) as file:
        return os.fstat(file.fileno()).st_size, zlib.crc32(file.read(_HEAD))


def _read_label(file: BinaryIO, archive: TarArchive, key: str, photo: str) -> Label:
    for ending in ("cls", "json"):
        name = f"{key}.{ending}"
        if name not in archive.spans:
            continue
        described = f"{show(archive.path)}: member {show(name)}"
        start, size = archive.spans[name]
        DOCUMENT_BYTES.check(size, described, DataError)
        file.seek(start)
        text = decode_text(file.read(size), described, DataError)
        if ending == "cls":
            return _label_of_text(text.strip(), described)
        fields = parse_json(
            text, _Described, described, remedy="write the shard again", error=DataError
        )
        label = fields.cls if fields.label is None else fields.label
        if label is not None:
            return _checked_label(label, described)
    raise DataError(
        f"{show(archive.path)}: member {show(photo)} has no class: there is neither "
        f"{show(key)}.cls nor a {show(key)}.json with the field label or cls; add it"
    )


def _label_of_text(text: str, described: str) -> Label:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    try:
        float(text)
    except ValueError:
        return _checked_label(text, described)
    raise DataError(f"{described} holds {show(text)[:40]}; write a whole number from 0, or a name")


def _checked_label(label: Label, described: str) -> Label:
    if isinstance(label, int):
        if 0 <= label < 10**9:
            return label
    elif label and len(label) <= _LONGEST_NAME and label.isprintable():
        return label
    shown = show(str(label))[:40]
    raise DataError(
        f"{described}: the class is {shown or 'empty'}; write a whole number from 0, or a name in "
        "one line"
    )
