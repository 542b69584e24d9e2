"""Files that are replaced whole or not at all, and what to say where a disk is full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from spikesight.errors import WriteError
from spikesight.files.names import show


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Names the file where writing within the with block fails.

    Raises:
        WriteError: If the disk is full, or the file cannot be written for another reason.
    """
    try:
        yield
    except WriteError:
        raise
    except (OSError, SafetensorError) as reason:
        said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        raise WriteError(
            f"{show(path)}: cannot be written ({said}); make room on the disk, or pass another "
            "output; what stood there before is kept"
        ) from reason


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yields the path of a new file that takes the place of `path` when the with block succeeds.

    A crash leaves the old file or the new one, an error the old one.

    Args:
        path: File; its folder must exist.

    Raises:
        WriteError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with explained(path):
            yield temporary
            put_in_place(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Replaces a file by new text, in UTF-8.

    Args:
        path: File; its folder must exist.
        text: The whole content.

    Raises:
        WriteError: If it cannot be written.
    """
    with replaced_file(path) as new:
        new.write_text(text, encoding="utf-8", newline="")


def put_in_place(new: Path, place: Path) -> None:
    """Moves a file into the place of another, to stay there after a power failure.

    Args:
        new: The file, whole.
        place: Where it goes, on the same file system.
    """
    flush(new)
    new.replace(place)
    flush(place.parent)


def flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    if os.name == "nt" and path.is_dir():  # which opens no folders and writes their names at once
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
