"""Folders and tar files of images with odd names, members, links, pipes and sizes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikesight.data.archives import FolderArchive, TarArchive
from spikesight.data.photos.class_folders import find_parts
from spikesight.data.photos.decoding import decode
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.data.prediction import find_images
from spikesight.data.segmentation.files import list_photos
from spikesight.data.sources import EncodedSource, Parts
from spikesight.training.tasks.classification.choices import _look_at
from spikesight.training.tasks.photos_and_videos import find_below
from tests.robustness.damage import Damage
from tests.robustness.guard import Trial, UnsoundError
from tests.robustness.image_files import damaged_image, sound_image

_PHOTO = sound_image(3)
_MEMBERS = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(2)]
_ODD_NAMES = [
    ".hidden.png",
    "__MACOSX/cat/._0.png",
    "0.png",
    "cat/0.PNG",
    "cat/0.jpg",
    "cat/a/b/c/0.png",
    "cat/\udcff.png",
    "cat/\n.png",
    "cat/[red].png",
    "cat/" + "x" * 200 + ".png",
    "Cat/0.png",
    "train/cat/0.png",
    "TRAIN/dog/1.png",
    "val/cat/0.png",
    "valid/cat/0.png",
    "test/dog/3.png",
    "train/0.png",
    "cat/notes.txt",
    "Thumbs.db",
    "cat/.DS_Store",
    "cat/ .png",
    "cat/%s.png",
]


def _read_archive(archive: FolderArchive | TarArchive) -> int:
    return read_parts(find_parts(archive))


def read_parts(parts: Parts) -> int:
    """Reads a few photos of every part, and how many there are."""
    count = 0
    for read in parts.values():
        source = read()
        assert isinstance(source, EncodedSource)
        places = source.positions.tolist()
        if len(set(places)) != len(places):
            raise UnsoundError("a photo comes twice")
        if len(source.labels) != len(places) or int(source.labels.max()) >= len(source.classes):
            raise UnsoundError("labels do not fit")
        if len(set(source.classes)) != len(source.classes):
            raise UnsoundError(f"a class comes twice: {source.classes}")
        for place in places[:6]:
            archive = source.archive
            to_tensor(decode(archive.read(place), archive.describe(place), 3))
        count += len(places)
    return count


def _folder(damage: Damage, folder: Path) -> Trial:
    root = folder / "photos"
    root.mkdir()
    random = damage.random
    for member in _MEMBERS:
        _write(root / member, damaged_image(damage)[0] if damage.hits(0.1) else _PHOTO)
    if not damage.none:
        for _ in range(random.choice([1, 1, 2, 3])):
            _spoil(root, damage)
    uses: list[Callable[[], object]] = [
        lambda: _read_archive(FolderArchive(root)),
        lambda: find_images(root),
        lambda: list(find_below(root, folder / "out")),
        lambda: list_photos(root),
        lambda: _look_at(str(root), {}),
    ]
    use = uses[0] if damage.none else random.choice([uses[0], *uses])
    return Trial(use, (str(root),), "; ".join(damage.notes))


def _write(path: Path, content: bytes) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return  # writing to a pipe would wait for who reads it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError:  # two odd things at one place, such as a file where a folder is wanted
        return


def _spoil(root: Path, damage: Damage) -> None:
    random = damage.random
    place = root / random.choice(_MEMBERS)
    outside = root.parent / "outside"

    def replace(make: Callable[[], object]) -> None:
        try:
            place.unlink(missing_ok=True)
            place.parent.mkdir(exist_ok=True)
            make()
        except OSError:
            return

    def link(target: str | Path) -> Callable[[], None]:
        return lambda: replace(lambda: os.symlink(target, place))

    def folder_link() -> None:
        _write(outside / "0.png", _PHOTO)
        replace(lambda: os.symlink(outside, root / "linked", target_is_directory=True))

    damage.one_of(
        name=lambda: _write(root / random.choice(_ODD_NAMES), _PHOTO),
        names=lambda: [_write(root / name, _PHOTO) for name in random.sample(_ODD_NAMES, 3)],
        pipe=lambda: replace(lambda: os.mkfifo(place)),
        device=link(random.choice(["/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem"])),
        loop=lambda: replace(lambda: os.symlink("..", place.parent / "again")),
        loops=lambda: replace(
            lambda: [os.symlink("..", root / name / "again") for name in ("cat", "dog")]
        ),
        itself=link(place.name),
        broken=link("/nowhere/0.png"),
        link=link(root / "cat/1.png"),
        folder_link=folder_link,
        folder=lambda: replace(place.mkdir),
        empty=lambda: [f.unlink() for f in (root / "cat").iterdir() if not f.is_dir()],
        nothing=lambda: replace(lambda: None),
        locked=lambda: place.exists() and place.chmod(0),
        image=lambda: _write(place, damaged_image(damage)[0]),
        deep=lambda: _write(root / "cat" / "/".join("d" * 60) / "0.png", _PHOTO),
        wide=lambda: [_write(root / f"c{number}" / "0.png", _PHOTO) for number in range(60)],
    )


def _tar(damage: Damage, folder: Path) -> Trial:
    random = damage.random
    format_ = random.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format_) as archive:
        for name in _MEMBERS:
            add_member(archive, name, damage)
    content = stream.getvalue()
    if damage.hits(0.45):
        content = (
            change_header(content, damage) if damage.hits(0.5) else damage.bytes(content, 3000)
        )
    packing = 0 if damage.none else random.choice([0, 0, 0, 1, 2, 3, 4])
    suffix = ("tar", "tar.gz", "tar.bz2", "tar.xz", "tar")[packing]
    if packing == 4 and damage.hits(1.0):
        content = random.choice([b"", b"PK\3\4" + bytes(600), b"\x28\xb5\x2f\xfd" + bytes(99)])
        damage.note("no tar")
    elif packing:
        damage.note(suffix)
        pack: Any = (gzip.compress, bz2.compress, lzma.compress)[packing - 1]
        content = pack(content)
        if damage.hits(0.4):
            content = damage.bytes(content)
    path = folder / f"photos.{suffix}"
    path.write_bytes(content)
    return Trial(lambda: _read_archive(TarArchive(path)), (path.name,), "; ".join(damage.notes))


_PAX: list[dict[str, str]] = [
    *({"size": size} for size in ("-5", "99999999999", "x", "1.5", "", "1e400", "0", "12")),
    {"GNU.sparse.map": "0,10,20,x", "GNU.sparse.size": "100"},
    {"GNU.sparse.map": "0,10", "GNU.sparse.size": "1000000000000"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "500"},
    {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "cat/9.png"},
    {"path": "cat/7.png"},
    {"path": ""},
    {"path": "../../x.png"},
    {"path": "/x.png"},
    {"path": "cat/\0.png"},
    {"linkpath": "x"},
    {"mtime": "nan"},
    {"mtime": "x"},
    {"uid": "x"},
    {"hdrcharset": "BINARY"},
    {"comment": "x" * 3000},
    {"path": "cat/" + "y" * 3000 + ".png"},
]


def add_member(archive: tarfile.TarFile, name: str, damage: Damage) -> None:
    """Adds a photo, maybe as what is no photo."""
    random = damage.random
    content = damaged_image(damage)[0] if damage.hits(0.05) else _PHOTO
    member = tarfile.TarInfo(
        damage.pick(name, [*_ODD_NAMES, "/etc/x.png", "../x.png"], "name", 0.1)
    )
    member.size = len(content)
    kinds = [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.CONTTYPE,
        b"Z",
        tarfile.XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
    ]
    member.type = damage.pick(tarfile.REGTYPE, kinds, "type", 0.05)
    member.linkname = (
        random.choice([name, "/dev/zero", ".."]) if member.islnk() or member.issym() else ""
    )
    if damage.hits(0.12):
        member.pax_headers = random.choice(_PAX)
        damage.note(f"{member.pax_headers}"[:80])
    try:
        archive.addfile(member, io.BytesIO(content))
    except (ValueError, UnicodeError):  # the format cannot say it
        return
    if damage.hits(0.05):
        damage.note("twice")
        member.type = tarfile.REGTYPE
        archive.addfile(member, io.BytesIO(content))


def change_header(content: bytes, damage: Damage) -> bytes:
    """One field of a member's header, with the right checksum."""
    data = bytearray(content)
    starts = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    start = damage.random.choice(starts or [0])
    place, size = damage.random.choice(
        [
            (0, 100),
            (100, 8),
            (108, 8),
            (124, 12),
            (124, 12),
            (124, 12),
            (136, 12),
            (156, 1),
            (257, 8),
            (345, 155),
            (386, 12),
            (482, 1),
            (483, 12),
        ]
    )
    values = [
        b"\0",
        b"7" * 11,
        b"\x80" + b"\xff" * 11,
        b"\xff" * 12,
        b"\x80" + bytes(7) + b"\1",
        b"-1",
        b"x",
        b"00000000001",
        b"S",
        b"L",
        b"K",
        b"x",
        b"g",
        b"\xff.png",
        b" " * 12,
    ]
    value = damage.random.choice(values)[:size]
    damage.note(f"header {place} = {value!r}")
    data[start + place : start + place + size] = value.ljust(size, b"\0")
    data[start + 148 : start + 156] = b" " * 8
    total = sum(data[start : start + 512])
    data[start + 148 : start + 156] = f"{total:06o}\0 ".encode()
    return bytes(data)


READERS = [("class folders", _folder, 70), ("tar", _tar, 120)]
