"""Stores of encoded images: a folder, or a tar file."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.preprocessing import read_bytes


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


class FolderArchive:
    """All files below a folder; hidden ones are left out.

    Args:
        path: The folder.

    Raises:
        DataError: There is no such folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.names: list[str] = []
        self.folders: set[str] = set()
        if not Path(path).is_dir():
            raise DataError(
                f"{path}: no such folder; data.path must be a folder that holds one folder of "
                "images per class, or train/ and val/ with such folders"
            )
        for folder, children, files in os.walk(path, followlinks=True):
            children[:] = sorted(child for child in children if not _is_hidden(child))
            inside = Path(folder).relative_to(path).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            if prefix:
                self.folders.add(inside)
            self.names += [prefix + file for file in sorted(files) if not _is_hidden(file)]

    def read(self, position: int) -> bytes:
        """The content of file number `position`."""
        return read_bytes(self.describe(position))

    def describe(self, position: int) -> str:
        """The path of file number `position`."""
        return os.path.join(self.path, self.names[position])


class TarArchive:
    """All files in a tar file; hidden ones and a leading `./` are left out.

    The members are listed once. A plain tar is then read at each member's offset; of a compressed
    one (gzip, bzip2, xz) the encoded images are kept in memory, as it has no offsets.

    Args:
        path: The tar file.

    Raises:
        DataError: There is no such file, it is no tar file, or it ends too early.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.names: list[str] = []
        self.folders: set[str] = set()
        self._spans: list[tuple[int, int]] = []
        self._contents: list[bytes] | None = None
        if not Path(path).is_file():
            raise DataError(
                f"{path}: no such file; data.path must be a .tar, .tar.gz, .tar.bz2 or .tar.xz "
                "file with one folder of images per class"
            )
        try:
            try:
                with tarfile.open(path, "r:") as archive:
                    self._list(archive)
            except tarfile.ReadError:
                self._contents = []
                with tarfile.open(path, "r:*") as archive:
                    self._list(archive)
        except (tarfile.TarError, EOFError, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(":")
            raise DataError(
                f"{path}: not a readable tar file ({reason}); unpack it if it is compressed in "
                "another way than gzip, bzip2 or xz, else fetch or make it again"
            ) from error
        self._order()

    def _list(self, archive: tarfile.TarFile) -> None:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if name in ("", ".") or _is_hidden(name):
                continue
            if member.isdir():
                self.folders.add(name)
            elif member.isreg():
                self.names.append(name)
                self._spans.append((member.offset_data, member.size))
                self.folders.update(
                    name[:end] for end, character in enumerate(name) if character == "/"
                )
                if self._contents is not None:
                    stream = archive.extractfile(member)
                    assert stream is not None
                    self._contents.append(stream.read())
            else:
                raise DataError(
                    f"{self.path}: member {name} is a link; make the tar file with "
                    "--dereference and --hard-dereference"
                )

    def _order(self) -> None:
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        self.names = [self.names[i] for i in order]
        self._spans = [self._spans[i] for i in order]
        if self._contents is not None:
            self._contents = [self._contents[i] for i in order]

    def read(self, position: int) -> bytes:
        """The content of file number `position`."""
        if self._contents is not None:
            return self._contents[position]
        offset, size = self._spans[position]
        # Opened anew each time, as an open file's position is shared between forked processes.
        with open(self.path, "rb") as file:
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
        return f"{self.path}: member {self.names[position]}"
