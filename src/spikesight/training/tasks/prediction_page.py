"""What a model sees in files, as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from PIL import Image

from spikesight.files.names import show, show_path
from spikesight.files.replacing import write_text
from spikesight.reports.charts import share_bars
from spikesight.reports.page import page, section, table
from spikesight.reports.pictures import photo

MOST_SEEN = 60
"""Photos of a page, so that it stays small; frames of videos among them."""
_FRAMES, _EVERY = 4, 25  # frames of a video that a page shows, and how far apart
_LONGEST = 560


@dataclass(frozen=True)
class Seen:
    """A photo, recording or frame, and what a model says of it.

    Attributes:
        file: Where it is from.
        frame: Number of the frame of a video, from 1; None of a photo.
        picture: What is shown, such as an overlay.
        says: What the model says, in words.
        shares: Names with values of 0 to 1, such as guesses or areas; drawn as bars.
    """

    file: Path
    frame: int | None
    picture: Image.Image
    says: str
    shares: Sequence[tuple[str, float]]


class Album:
    """Collects what a page shows, and writes it.

    Args:
        path: The page; None where none is asked for, and nothing is collected.
        measure: What the values of `Seen.shares` are.
    """

    def __init__(self, path: Path | None, measure: str) -> None:
        self._path, self._measure = path, measure
        self._seen: list[Seen] = []
        self._left_out = 0

    def wants(self, frame: int | None = None) -> bool:
        """Whether the page has room for a photo, or for the frame of a video of this number."""
        if self._path is None:
            return False
        if frame is not None and ((frame - 1) % _EVERY or frame > _EVERY * _FRAMES):
            return False
        room = len(self._seen) < MOST_SEEN
        self._left_out += not room
        return room

    def add(self, seen: Seen) -> None:
        """Takes what was seen, at the size that the page shows."""
        picture = seen.picture.convert("RGB")
        picture.thumbnail((_LONGEST, _LONGEST))
        self._seen.append(replace(seen, picture=picture))

    def write(self, model: Path, files: int) -> None:
        """Writes the page, if one is asked for, and says where.

        Args:
            model: Where the model is.
            files: Number of files that were looked at.
        """
        if self._path is None:
            return
        shown = self._seen
        cut = f", of which {len(shown)} pictures are shown" if self._left_out else ""
        lead = f"What the model {show_path(model)} sees in {files:,} file(s){cut}. {self._measure}"
        rows = [(_named(one), one.says) for one in shown]
        text = page(
            "What a spiking network sees",
            lead,
            section("Pictures", f'<div class="photos">{"".join(map(_figure, shown))}</div>'),
            section("In words", table(("file", "what it sees"), rows)),
        )
        write_text(self._path, text)
        print(f"page in {show(self._path)}")


def _named(one: Seen) -> str:
    name = show_path(one.file)
    return name if one.frame is None else f"{name}, frame {one.frame}"


def _figure(one: Seen) -> str:
    listed = share_bars([(show(name), share) for name, share in one.shares]) if one.shares else ""
    element = photo(one.picture, f"{_named(one)}: {one.says}", _LONGEST)
    return (
        f"<figure>{element}<figcaption><b>{escape(one.says)}</b><br>{escape(_named(one))}"
        f"</figcaption>{listed}</figure>"
    )
