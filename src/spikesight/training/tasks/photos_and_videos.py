"""The photos and videos that `spikesight predict` looks at, and the pictures that it writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spikesight.data.batches import report_skipped
from spikesight.data.config import OnCorrupt
from spikesight.data.errors import CorruptImageError, DataError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES
from spikesight.data.segmentation.video import VIDEO_SUFFIXES, is_own_video
from spikesight.files.names import check_name, show
from spikesight.files.own_pictures import OWN_MARK, is_own_picture
from spikesight.files.replacing import explained
from spikesight.files.walking import find_files
from spikesight.files.writing import distinct_stems

ResultT = TypeVar("ResultT")


def is_video(file: Path) -> bool:
    """Whether a file's name ends as videos do."""
    return file.suffix.lower() in VIDEO_SUFFIXES


def find_below(
    path: Path,
    output: Path | None,
    suffixes: frozenset[str] = IMAGE_SUFFIXES | VIDEO_SUFFIXES,
) -> Iterator[Path]:
    """A file, or the photos and videos below a folder that predict did not write.

    Args:
        path: The file or folder.
        output: The folder of the pictures to come, which is not searched.
        suffixes: Those of the files in folders, in lower case.

    Raises:
        DataError: If there is no such path, or none below it.
    """
    check_name(str(path), "what to look at", DataError)
    if not path.is_dir():
        if not os.path.lexists(path):
            raise DataError(
                f"{show(path)}: no such file or folder; pass photos, videos or folders of them"
            )
        yield path
        return
    below = find_files(path, suffixes, without=output, error=DataError)
    files = [file for file in below if not _is_own(file)]
    if not files:
        raise DataError(
            f"{show(path)}: holds {_none_of(suffixes)} (pictures that predict wrote do not count); "
            "pass another folder"
        )
    yield from files


def look_at_each(
    files: Sequence[Path],
    output: Path | None,
    on_corrupt: OnCorrupt,
    look: Callable[[Path, Path | None], ResultT],
) -> list[ResultT]:
    """Looks at photos and videos, one after the other.

    Args:
        files: As `find_below` found them.
        output: Folder of the pictures to come, if any.
        on_corrupt: Whether an unreadable file ends it or is left out.
        look: Takes a file, and the start of the path of what is written of it.

    Returns:
        What was seen in each that could be read.
    """
    results: list[ResultT] = []
    skipped: dict[str, str] = {}
    for file, stem in zip(files, distinct_stems(files, VIDEO_SUFFIXES), strict=True):
        try:
            results.append(look(file, None if output is None else output / stem))
        except CorruptImageError as error:
            if on_corrupt == "stop":
                raise
            skipped[str(file)] = str(error)
    if skipped:
        report_skipped(skipped)
    return results


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a PNG with the mark of predict."""
    mark = PngInfo()
    mark.add_text("Software", OWN_MARK)
    with explained(path):
        picture.save(path, pnginfo=mark)


def _none_of(suffixes: frozenset[str]) -> str:
    if suffixes >= VIDEO_SUFFIXES:
        return "no photo and no video"
    return f"no file ending in {', '.join(sorted(suffixes))}"


def _is_own(path: Path) -> bool:
    return is_own_video(path) if is_video(path) else is_own_picture(path)
