"""Names of files: which are hidden, which are taken, and how messages show them."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from pathlib import Path

from spikesight.errors import FileError, UserError

# What systems leave in folders of photos without a dot in front: macOS in zip files, Synology's
# thumbnails, waste baskets.
_SYSTEM_FOLDERS = frozenset(
    {
        "__MACOSX",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    }
)

# Marks that turn the direction of what follows: "gpj.\u202excod" would read as "docx.jpg".
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name, one part of a path, is left out everywhere."""
    return part.startswith(".") or part in _SYSTEM_FOLDERS


def show(name: str | os.PathLike[str]) -> str:
    """A name as messages show it: on one line, and encodable whatever bytes it has."""
    text = os.fspath(name)
    return text if text.isprintable() else "".join(map(_escaped, text))


def show_path(path: Path) -> str:
    """A path relative to the current folder where it lies below it, else as it was given."""
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return show(path)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        # So stands a byte in names that are not UTF-8.
        return f"\\x{ord(character) - 0xDC00:02x}"
    # Controls, halves of characters and ends of lines; what joins letters and emoji stays.
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNING:
        return character.encode("unicode_escape").decode("ascii")
    return character


def check_name(name: str, where: str, error: type[UserError] = FileError) -> None:
    """Refuses a name that is not UTF-8, which no report or table could hold.

    Args:
        name: Of a file or folder, as the system or an archive gives it.
        where: What it lies in, for the message.
        error: What is raised.

    Raises:
        UserError: It is not UTF-8; of the type `error`.
    """
    if name.isascii():
        return
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        problem = "is not UTF-8; rename it, for example with convmv"
        with suppress(UnicodeError):  # the system's encoding is another one
            os.fsencode(name).decode("utf-8")
            problem = (
                "was not read as the UTF-8 that it is; set the environment variable PYTHONUTF8=1"
            )
        raise error(f"{where}: the name {show(name)} {problem}") from None


def check_inside(name: str, where: str, error: type[UserError] = FileError) -> None:
    """Refuses a name that leads out of the folder below which it is looked up.

    Args:
        name: As a list or an archive gives it, with "/" between its parts.
        where: The list or archive, for the message.
        error: What is raised.

    Raises:
        UserError: It begins at the root or goes up; of the type `error`.
    """
    if name.startswith("/") or "\0" in name or ".." in name.split("/") or os.path.isabs(name):
        raise error(
            f"{where}: the name {show(name)} leads out of its folder; name what lies below it"
        )
