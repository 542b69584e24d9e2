"""The walker: which files and folders lie below a folder."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from spikesight.errors import FileError, UserError
from spikesight.files.names import check_name, is_hidden, show

logger = logging.getLogger(__name__)
_Identity = tuple[int, int] | str


@dataclass(frozen=True)
class Walk:
    """What lies below a folder, hidden files and folders left out.

    Names are those below the folder, with "/" between their parts. The files of a folder come
    before those of its folders, both sorted.

    Attributes:
        files: Everything that is no folder, so also links to nowhere, pipes and devices, which
            the opener refuses by name.
        folders: All folders, and links to folders.
        repeated: Links to folders that are walked elsewhere and so are not entered, and where:
            name to name ("." is the folder itself).
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    repeated: dict[str, str] = field(default_factory=dict)


def walk(
    folder: str | os.PathLike[str],
    *,
    without: str | os.PathLike[str] | None = None,
    error: type[UserError] = FileError,
) -> Walk:
    """Lists what lies below a folder; links to folders are followed.

    A folder that is reached again through a link is not entered again, so links that lead back up
    end nothing and repeat nothing. Real folders come before links: a link never takes the files
    of a folder that also lies there itself.

    Args:
        folder: Where to begin.
        without: A folder that is not entered, such as one that is being written.
        error: What is raised.

    Raises:
        UserError: There is no such folder, or one below it cannot be listed; of the type `error`.
    """
    top = os.fspath(folder)
    if not os.path.isdir(top):
        raise error(f"{show(top)}: no such folder; correct the path")
    closed = _identity(os.fspath(without)) if without is not None else None
    found = _Found(top, closed, error)
    found.enter("", linked=False)
    while found.links:
        found.enter(found.links.popleft(), linked=True)
    result = found.in_order()
    if result.repeated:
        link, target = next(iter(result.repeated.items()))
        logger.warning(
            "%s: %d links to folders that are searched already are not followed, the first is "
            "%s to %s",
            show(top),
            len(result.repeated),
            show(link),
            show(target),
        )
    return result


def find_files(
    folder: str | os.PathLike[str],
    suffixes: Collection[str],
    *,
    without: str | os.PathLike[str] | None = None,
    error: type[UserError] = FileError,
) -> list[Path]:
    """Finds the files below a folder that have one of the suffixes; see `walk`.

    Args:
        folder: Where to begin.
        suffixes: In lower case and with the dot; capitals in files' names do not matter.
        without: A folder that is not entered.
        error: What is raised.

    Returns:
        The files, sorted by the parts of their paths; maybe none.

    Raises:
        UserError: The folder cannot be walked, or one of the names is not UTF-8; of the type
            `error`.
    """
    names = walk(folder, without=without, error=error).files
    chosen = [name for name in names if os.path.splitext(name)[1].lower() in suffixes]
    chosen.sort(key=lambda name: name.split("/"))
    for name in chosen:
        check_name(name, show(folder), error)
    top = os.path.join(folder, "")
    return [Path(top + name) for name in chosen]


def subfolders(folder: str | os.PathLike[str], error: type[UserError] = FileError) -> list[str]:
    """Names of the folders, and of links to folders, directly in a folder, sorted.

    Args:
        folder: Where to look; hidden folders are left out.
        error: What is raised.

    Raises:
        UserError: The folder cannot be listed, or a name is not UTF-8; of the type `error`.
    """
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not is_hidden(e.name) and _leads_to_folder(e)]
    except OSError as reason:
        raise error(_unlistable(os.fspath(folder), reason)) from reason
    for name in names:
        check_name(name, show(folder), error)
    return sorted(names)


def _unlistable(path: str, reason: OSError) -> str:
    return (
        f"{show(path)}: the folder cannot be listed ({reason.strerror}); check that it is there "
        "and may be read"
    )


def _identity(path: str) -> _Identity | None:
    """What is the same for one folder on all ways to it."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    # Some network file systems number nothing.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


class _Found:
    """The walk so far."""

    def __init__(self, top: str, closed: _Identity | None, error: type[UserError]) -> None:
        self.top = top
        self.closed = closed
        self.error = error
        self.links: deque[str] = deque()
        self.files: dict[str, list[str]] = {}
        self.folders: dict[str, list[str]] = {}
        self.seen: dict[_Identity, str] = {}
        self.repeated: dict[str, str] = {}

    def enter(self, first: str, *, linked: bool) -> None:
        """Lists a folder and the real folders below it; puts links to folders off."""
        pending = [first]
        while pending:
            inside = pending.pop()
            path = os.path.join(self.top, inside) if inside else self.top
            identity = _identity(path)
            if identity is not None:
                if identity == self.closed:
                    continue
                if linked and identity in self.seen:
                    if inside == first:
                        self.repeated[inside] = self.seen[identity] or "."
                    continue
                self.seen.setdefault(identity, inside)
            pending += self._list(path, inside)

    def _list(self, path: str, inside: str) -> list[str]:
        """Lists one folder; returns its real folders."""
        prefix = f"{inside}/" if inside else ""
        files: list[str] = []
        folders: list[str] = []
        real: list[str] = []
        links: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    if not _leads_to_folder(entry):
                        files.append(entry.name)
                        continue
                    folders.append(entry.name)
                    (links if _is_link(entry) else real).append(prefix + entry.name)
        except OSError as error:
            raise self.error(_unlistable(path, error)) from error
        self.files[inside], self.folders[inside] = sorted(files), sorted(folders)
        self.links.extend(sorted(links))
        return sorted(real, reverse=True)

    def in_order(self) -> Walk:
        """The files of each folder before those of its folders."""
        result = Walk(repeated=self.repeated)
        pending = [""]
        while pending:
            inside = pending.pop()
            prefix = f"{inside}/" if inside else ""
            if inside:
                result.folders.append(inside)
            result.files.extend(prefix + name for name in self.files.get(inside, ()))
            pending += [prefix + name for name in reversed(self.folders.get(inside, ()))]
        return result


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_link(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return True
    is_junction = getattr(entry, "is_junction", None)  # Windows, from Python 3.12 on
    return is_junction is not None and bool(is_junction())
