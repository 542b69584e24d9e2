"""Stores of encoded images: a folder, or a tar file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES, read_image_file
from spikesight.files.limits import (
    IMAGE_BYTES,
    TAR_KEPT_BYTES,
    TAR_MEMBERS,
    TAR_UNPACKED_BYTES,
    TAR_UNPACKED_RATIO,
)
from spikesight.files.names import is_hidden, show
from spikesight.files.opening import Readable, open_regular
from spikesight.files.walking import walk

_CHUNK = 1 << 20
_BLOCK = 512
_LARGEST_HEAD = 1 << 23  # bytes of one member's names and attributes
_LONGEST_END = 1 << 26  # bytes of zeros behind the last member
_MAGIC = b"ustar"


class FolderArchive:
    """All files below a folder; hidden ones are left out and no folder is entered twice.

    Args:
        path: The folder.

    Raises:
        DataError: There is no such folder, or one below it cannot be listed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        if not os.path.isdir(path):
            found = "is a file, no folder" if os.path.exists(path) else "no such folder"
            raise DataError(
                f"{show(path)}: {found}; data.path must be a folder that holds one folder of "
                "images per class, or train/ and val/ with such folders"
            )
        found_below = walk(path, error=DataError)
        self.names = found_below.files
        self.folders = set(found_below.folders)
        self.repeated = found_below.repeated

    def read(self, position: int) -> bytes:
        """The content of file number `position`."""
        return read_image_file(self.describe(position))

    def describe(self, position: int) -> str:
        """The path of file number `position`."""
        return os.path.join(self.path, self.names[position])


class TarArchive:
    """All files in a tar file; hidden ones and a leading `./` are left out.

    The members are listed once; of several with one name the last one counts, as tar itself has
    it. A plain tar is then read at each member's offset; of a compressed one (gzip, bzip2, xz)
    the encoded images are kept in memory, as it has no offsets.

    Args:
        path: The tar file.
        plain: Refuse a compressed one.

    Attributes:
        spans: First byte and number of bytes of each file, by name.

    Raises:
        DataError: There is no such file, it is no tar file, is damaged, ends too early, or holds
            more than the limits allow.
    """

    def __init__(self, path: str | Path, *, plain: bool = False) -> None:
        self.path = str(path)
        self._plain = plain
        self.folders: set[str] = set()
        self.repeated: dict[str, str] = {}
        self.spans: dict[str, tuple[int, int]] = {}
        self._contents: dict[str, bytes] | None = None
        if not os.path.lexists(path) or os.path.isdir(path):
            found = "is a folder, no file" if os.path.isdir(path) else "no such file"
            raise DataError(
                f"{show(path)}: {found}; data.path must be a .tar, .tar.gz, .tar.bz2 or .tar.xz "
                "file with one folder of images per class"
            )
        with open_regular(path, DataError) as file:
            try:
                self._read(file)
            except DataError:
                raise
            # tarfile raises whatever a damaged header leads it to.
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
                raise DataError(
                    f"{show(path)}: not a readable tar file ({show(reason)}); unpack it if it is "
                    "compressed in another way than gzip, bzip2 or xz, else fetch or make it again"
                ) from error
        self.names = sorted(self.spans)

    def _read(self, file: BinaryIO) -> None:
        unpacked = _unpacking(file)
        most = None
        if unpacked is not None:
            if self._plain:
                raise DataError(
                    f"{show(self.path)}: is compressed, so no photo in it can be found without "
                    "unpacking all before it; unpack it to a plain .tar"
                )
            self._contents = {}
            size = os.fstat(file.fileno()).st_size
            most = max(TAR_UNPACKED_BYTES.value, TAR_UNPACKED_RATIO.value * size)
        self._list(_Blocks(file, unpacked, self.path, most))

    def _list(self, blocks: _Blocks) -> None:
        members = kept = 0
        with tarfile.open(fileobj=cast("BinaryIO", blocks), mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]
                members += 1
                TAR_MEMBERS.check(members, show(self.path), DataError)
                name = self._usable_name(member)
                if name is None:
                    continue
                self.spans[name] = (member.offset_data, member.size)
                self.folders.update(
                    name[:end] for end, character in enumerate(name) if character == "/"
                )
                if self._contents is None or not _is_image(name):
                    continue
                kept += member.size - len(self._contents.get(name, b""))
                TAR_KEPT_BYTES.check(kept, show(self.path), DataError)
                IMAGE_BYTES.check(member.size, self._described(name), DataError)
                blocks.seek(member.offset_data)
                content = blocks.take(member.size)
                if len(content) != member.size:
                    raise tarfile.ReadError("unexpected end of data")
                self._contents[name] = content
        blocks.check_end()

    def _usable_name(self, member: tarfile.TarInfo) -> str | None:
        """The name of a file that is read; None of a folder or what is left out."""
        if member.size < 0:
            raise DataError(
                f"{show(self.path)}: member {show(member.name)} states {member.size} bytes; make "
                "the file again"
            )
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise DataError(
                f"{self._described(member.name)} leads out of the tar file; make it again from "
                "inside the folder of the images"
            )
        if not parts or any(map(is_hidden, parts)):
            return None
        name = "/".join(parts)
        if member.isdir():
            self.folders.add(name)
            return None
        if member.islnk() or member.issym():
            raise DataError(
                f"{self._described(name)} is a link; make the tar file with --dereference and "
                "--hard-dereference"
            )
        if not member.isreg():
            raise DataError(f"{self._described(name)} is no file; make the tar file without it")
        if member.issparse():
            raise DataError(
                f"{self._described(name)} is stored without its zeros; make the tar file without "
                "--sparse (-S)"
            )
        return name

    def read(self, position: int) -> bytes:
        """The content of file number `position`."""
        name = self.names[position]
        if self._contents is not None:
            if name not in self._contents:
                raise CorruptImageError(
                    f"{self.describe(position)} is no image, and of a compressed tar file only "
                    f"those ({', '.join(sorted(IMAGE_SUFFIXES))}) are kept"
                )
            return self._contents[name]
        offset, size = self.spans[name]
        IMAGE_BYTES.check(size, self.describe(position), CorruptImageError)
        # Opened anew each time, as an open file's position is shared between forked processes.
        with open_regular(self.path, CorruptImageError) as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise CorruptImageError(
                f"{self.describe(position)}: the tar file ends inside it; fetch or make the file "
                "again"
            )
        return content

    def describe(self, position: int) -> str:
        """The tar file's path and the member's name."""
        return self._described(self.names[position])

    def _described(self, name: str) -> str:
        return f"{show(self.path)}: member {show(name)}"


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _unpacking(file: BinaryIO) -> Readable | None:
    """A decompressor around a file; None if it is not compressed."""
    head = file.read(_BLOCK)
    file.seek(0)
    if head[257:262] == _MAGIC:
        return None
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return bz2.BZ2File(file)
    if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lzma.LZMAFile(file)
    return None


@dataclass
class _Blocks:
    """A tar file, unpacked, of which tarfile reads heads only and nothing larger.

    Attributes:
        file: The file.
        unpacked: A decompressor around it; None for a plain one.
        path: What messages call it.
        most: Bytes up to which a decompressor goes on.
    """

    file: BinaryIO
    unpacked: Readable | None
    path: str
    most: int | None
    position: int = 0
    last_head: bytes = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of a head."""
        if size > _LARGEST_HEAD:
            raise tarfile.ReadError(f"a member's head states {size:,} bytes")
        self.last_head = self.take(size)
        return self.last_head

    def take(self, size: int) -> bytes:
        """Up to `size` bytes."""
        parts = []
        while size > 0 and (part := (self.unpacked or self.file).read(min(size, _CHUNK))):
            parts.append(part)
            size -= len(part)
            self.position += len(part)
            if self.most is not None and self.position > self.most:
                ratio = TAR_UNPACKED_RATIO
                raise DataError(
                    f"{show(self.path)}: becomes more than {ratio.value} times as large when it "
                    "is unpacked; unpack it yourself, or if that is right, set the environment "
                    f"variable {ratio.variable} to a larger number"
                )
        return b"".join(parts)

    def seek(self, position: int) -> None:
        """Goes to a byte; in a compressed file to a later one, by reading."""
        if self.unpacked is None:
            self.position = self.file.seek(position)
            return
        if position < self.position:
            raise tarfile.ReadError("its members overlap")
        while self.position < position:
            if not self.take(min(position - self.position, _CHUNK)):
                raise tarfile.ReadError("unexpected end of data")

    def tell(self) -> int:
        """The position in bytes."""
        return self.position

    def check_end(self) -> None:
        """Refuses a place that tarfile takes for the end of the file although it is not."""
        damaged = bool(self.last_head.strip(b"\0"))
        for _ in range(_LONGEST_END // _CHUNK):
            block = self.take(_CHUNK)
            damaged = damaged or any(
                block[start + 257 : start + 262] == _MAGIC for start in range(0, len(block), _BLOCK)
            )
            if damaged or not block:
                break
        if damaged:
            raise DataError(
                f"{show(self.path)}: is damaged after {self.position:,} bytes, or two tar files "
                "in one; fetch or make it again, and join tar files with tar --concatenate"
            )
