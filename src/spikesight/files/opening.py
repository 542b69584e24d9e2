"""The opener: regular files only, and never more of them than the table of limits allows."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, Protocol

from spikesight.errors import FileError, UserError
from spikesight.files.limits import TEXT_BYTES, Limit
from spikesight.files.names import show

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_CHUNK = 1 << 20
_UTF_16_AND_32 = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")


class Readable(Protocol):
    """What gives bytes: a file, or a decompressor around one."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


def open_regular(path: str | os.PathLike[str], error: type[UserError] = FileError) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading.

    Raises:
        UserError: It is not there, may not be read, or is a folder, pipe, device or socket; of
            the type `error`.
    """
    try:
        _check_regular(os.stat(path).st_mode, path, error)
        # Not to wait where a pipe took the file's place meanwhile.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
        try:
            _check_regular(os.fstat(descriptor).st_mode, path, error)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as reason:
        raise error(
            f"{show(path)}: cannot be read ({reason.strerror}); check that it exists and may be "
            "read"
        ) from reason
    except ValueError as reason:
        if isinstance(reason, UserError):
            raise
        # A name with a zero byte, or that the file system cannot encode.
        raise error(f"{show(path)}: is no name of a file ({reason}); correct it") from reason


def _check_regular(mode: int, path: str | os.PathLike[str], error: type[UserError]) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise error(f"{show(path)}: is {kind}; replace or remove it, only files are read")


def read_bytes(
    path: str | os.PathLike[str], limit: Limit, error: type[UserError] = FileError
) -> bytes:
    """The content of a regular file.

    Raises:
        UserError: It cannot be opened or read, or is larger than the limit; of the type `error`.
    """
    with open_regular(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        limit.check(size, show(path), error)
        try:
            # One byte more shows a file that is longer than the system says, as in /proc.
            content = file.read(size + 1)
            if len(content) > size:
                content += read_at_most(file, limit.value - len(content) + 1)
        except OSError as reason:
            raise error(
                f"{show(path)}: cannot be read ({reason.strerror}); check the disk or replace it"
            ) from reason
    limit.check(len(content), show(path), error)
    return content


def read_at_most(stream: Readable, most: int) -> bytes:
    """Reads up to a number of bytes, with no more memory than there is to read.

    Args:
        stream: A file or a decompressor; what it raises is passed on.
        most: Bytes after which reading ends.
    """
    parts: list[bytes] = []
    left = most
    while left > 0 and (part := stream.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_text(
    path: str | os.PathLike[str],
    limit: Limit = TEXT_BYTES,
    error: type[UserError] = FileError,
) -> str:
    r"""The content of a text file in UTF-8; a byte order mark is dropped, lines end in \n.

    Raises:
        UserError: It cannot be read, is larger than the limit or is not UTF-8; of the type
            `error`.
    """
    return decode_text(read_bytes(path, limit, error), show(path), error)


def decode_text(content: bytes, name: str, error: type[UserError] = FileError) -> str:
    """Text from bytes by the rules of `read_text`.

    Raises:
        UserError: It is not UTF-8; of the type `error`.
    """
    if content.startswith(_UTF_16_AND_32):
        raise error(f"{name}: is not text in UTF-8 but in UTF-16 or UTF-32; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(
            f"{name}: is not text in UTF-8 (byte {reason.start} is "
            f"{content[reason.start]:#04x}); save it as UTF-8"
        ) from reason
    return text.replace("\r\n", "\n").replace("\r", "\n")
