"""One process at a time writes into the folder of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spikesight.errors import UserError

LOCK = ".lock"

# The byte that is locked; the holder's number stands behind it, where others may read it.
_LOCKED_BYTES = 1

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, _LOCKED_BYTES)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        # Unlike flock's, this lock ends with its process, whatever processes that one has started.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKED_BYTES, 0, os.SEEK_SET)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training into a folder; a process that is killed lets go of it.

    Args:
        folder: Folder of a run; made if it does not exist, and removed again if nothing came of it.

    Raises:
        UserError: If another process trains into it, or it is a file.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"output {folder} is or lies below a file; pass a folder") from error
    descriptor = _open_locked(folder)
    try:
        yield
    finally:
        # Windows removes no open file, and there is no harm in one that stays.
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(descriptor)
        with suppress(OSError):
            for place in made:
                place.rmdir()


def _open_locked(folder: Path) -> int:
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _try_lock(descriptor)
            # Whoever held the lock may have removed the file since it was opened.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                os.ftruncate(descriptor, _LOCKED_BYTES)
                os.lseek(descriptor, _LOCKED_BYTES, os.SEEK_SET)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise UserError(
                f"output {folder} is in use by {holder}; wait until it has ended, or pass another "
                "output"
            ) from error
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    os.lseek(descriptor, _LOCKED_BYTES, os.SEEK_SET)
    number = os.read(descriptor, 20).decode("ascii", "replace")
    return f"process {number}" if number.isdigit() else "another process"
