"""Places to write to, checked before anything is computed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from itertools import count
from pathlib import Path

from spikesight.errors import UserError
from spikesight.files.names import show

PAGE_ENDINGS = (".html", ".htm")
"""Of pages that commands write."""
_LONGEST_STEM = 180  # bytes; file systems allow 255 for a stem with what is added to it
_MODEL_FILES = frozenset(
    {
        "config.json",
        "run.json",
        "training.json",
        "config.yaml",
        "metrics.csv",
        "firing.csv",
        "model.safetensors",
        "calibration.safetensors",
    }
)
_FRAME = re.compile(r"(.+)_[0-9]{6,}")


def place_for_file(path: Path, option: str, endings: Collection[str] = ()) -> Path:
    """Makes sure that a file can be written, and makes its folder.

    Args:
        path: The file; one that exists is to be replaced.
        option: What messages call it, such as "output" or "html".
        endings: Those that its name may have, in lower case and with the dot; any if empty. The
            first ones are those that messages propose.

    Returns:
        The same path.

    Raises:
        UserError: If it is a folder, part of a model or run, ends otherwise or cannot be written.
    """
    example = next(iter(endings), "")
    if os.path.isdir(path):
        within = path / f"{option}{example}"
        raise UserError(
            f"{option} {show(path)} is a folder; pass a file, such as --{option}={show(within)}"
        )
    if path.name in _MODEL_FILES and os.path.lexists(path):
        raise UserError(
            f"{option} {show(path)} is part of a model or run, which it would replace; pass another"
        )
    if endings and path.suffix.lower() not in endings:
        proposed = ", ".join(list(endings)[:4])
        raise UserError(
            f"{option} is {show(path)}; pass a file ending in {proposed}, such as "
            f"--{option}={show(path.with_suffix(example))}"
        )
    _make(path.parent, path, option)
    target = path if os.path.exists(path) else path.parent
    if not os.access(target, os.W_OK):
        raise UserError(
            f"{option} {show(path)} cannot be written: {show(target)} is read-only; pass another"
        )
    return path


def place_for_folder(path: Path, option: str) -> Path:
    """Makes a folder, if it is not there, and makes sure that files can be written into it.

    Returns:
        The same path.

    Raises:
        UserError: If it is a file or cannot be written.
    """
    _make(path, path, option)
    if not os.access(path, os.W_OK):
        raise UserError(f"{option} {show(path)} is a read-only folder; pass another")
    return path


def _make(folder: Path, path: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{option} {show(path)}: {show(error.filename)} is a file and no folder; pass another "
            f"{option}"
        ) from error
    except OSError as error:
        raise UserError(
            f"{option} {show(path)}: the folder {show(folder)} cannot be made ({error.strerror}); "
            f"pass another {option}"
        ) from error


def distinct_stems(files: Sequence[Path], of_frames: Collection[str] = ()) -> list[str]:
    """Stems to call outputs by, one per file and all different.

    A stem is the file's own, where it can be one everywhere; one that an earlier file has gets a
    number behind it. Case alone does not tell stems apart.

    Args:
        files: Any files.
        of_frames: Endings, in lower case, of files that have an output per frame, STEM_000001 and
            so on; no other file gets a stem of that kind.
    """
    taken: set[str] = set()
    sequences: set[str] = set()
    bases: set[str] = set()
    numbers: dict[str, int] = {}
    stems: list[str] = []
    for file in files:
        first = _portable(file.stem)
        sequence = file.suffix.lower() in of_frames
        for number in count(numbers.get(first.casefold(), 1)):
            stem = first if number == 1 else f"{first}_{number}"
            key = stem.casefold()
            frame = _FRAME.fullmatch(key)
            base = None if frame is None else frame[1]
            if key not in taken and base not in sequences and not (sequence and key in bases):
                break
        taken.add(key)
        numbers[first.casefold()] = number + 1
        if sequence:
            sequences.add(key)
        if base is not None:
            bases.add(base)
        stems.append(stem)
    return stems


def _portable(stem: str) -> str:
    stem = show(stem).replace("\\", "_")
    return stem.encode()[:_LONGEST_STEM].decode(errors="ignore")
