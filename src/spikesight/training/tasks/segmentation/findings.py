"""Which classes a segmenter confuses, and the photos in which most pixels are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikesight.data.segmentation import ClassTable, Truth
from spikesight.files.names import show
from spikesight.metrics import ConfusionMatrix
from spikesight.reports.confusions import confusion_matrix
from spikesight.reports.overlays import draw_overlay
from spikesight.reports.page import colour_key, paragraph, percent, section
from spikesight.reports.pictures import as_image, photo, photos
from spikesight.training.tasks.findings import Findings, Sight, Worst

_WORST, _FIRST = 6, 3
_SIDE = 480  # pixels of the longer side that are kept of a photo


@dataclass(frozen=True)
class _Seen:
    """A photo with its segments and those that were found, all of one small size."""

    photo: Tensor
    true: Truth
    found: Truth


class SegmenterFindings(Findings):
    """Confusions of pixels, the worst photos and the first ones.

    Args:
        table: The classes.
    """

    def __init__(self, table: ClassTable) -> None:
        self._table = table
        self._matrix = ConfusionMatrix(len(table))
        self._worst: Worst[_Seen] = Worst(_WORST)
        self._first: list[_Seen] = []
        self._photos = 0

    def note(self, image: Tensor, true: Truth, found: Truth) -> None:
        """Notes a photo.

        Args:
            image: As the loader gives it, uint8 [3, h, w].
            true: Its segments.
            found: Those that were found, of the same size.
        """
        truth, guess = true.class_map(), found.class_map()
        # What a panoptic segmenter leaves void is no class, and wrong.
        said = guess >= 0
        self._matrix.update(guess[said], truth[said])
        known = truth >= 0
        wrong = float((guess != truth)[known].float().mean()) if bool(known.any()) else 0.0
        self._photos += 1
        if len(self._first) < _FIRST:
            self._first.append(_small(image, true, found))
        if self._worst.wants(wrong):
            self._worst.add(wrong, _small(image, true, found))

    def merge(self, other: SegmenterFindings) -> None:
        """Takes over what another process noticed."""
        self._matrix.counts += other._matrix.counts
        self._worst.merge(other._worst)
        self._first = [*self._first, *other._first][:_FIRST]
        self._photos += other._photos

    def sections(self) -> list[str]:
        """What is taken for what, and the worst photos beside their truth."""
        names = [show(name) for name in self._table.names]
        parts = [section("What it takes for what, by pixels", self._pixels(names))]
        rows, present = [], set()
        for wrong, seen in self._worst.ranked():
            maps = (seen.true.class_map(), seen.found.class_map())
            present |= {int(n) for classes in maps for n in classes.unique() if n >= 0}
            right = percent(1 - wrong)
            drawn = (
                (as_image(seen.photo), "a validation photo"),
                (self._overlay(seen.photo, seen.true), "its true segments"),
                (self._overlay(seen.photo, seen.found), f"what was found, {right} of it right"),
            )
            elements = [photo(picture, what, _SIDE) for picture, what in drawn]
            rows.append((elements, f"{right} of the pixels are right"))
        if rows:
            said = (
                f"Of {self._photos:,} validation photos those in which most pixels are wrong: the "
                "photo, what is there, and what was found."
            )
            key = colour_key([(names[n], self._table.colours[n]) for n in sorted(present)])
            parts.append(section("Its worst photos", paragraph(said), key, photos(rows)))
        return parts

    def _pixels(self, names: list[str]) -> str:
        return confusion_matrix(self._matrix.counts, names)

    def _overlay(self, image: Tensor, segments: Truth) -> Image.Image:
        return draw_overlay(image, segments, self._table, legend="none")

    def sights(self) -> list[Sight]:
        """The first photos, each beside its truth and what was found."""
        sights = []
        for number, seen in enumerate(self._first, start=1):
            parts = [self._overlay(seen.photo, truth) for truth in (seen.true, seen.found)]
            whole = as_image(seen.photo).resize(parts[0].size, Image.Resampling.NEAREST)
            row = np.concatenate([np.asarray(part.convert("RGB")) for part in (whole, *parts)], 1)
            sights.append(Sight(f"photo_{number}", Image.fromarray(row)))
        return sights


def _small(image: Tensor, true: Truth, found: Truth) -> _Seen:
    """Photo and segments at one size, no larger than needed."""
    height, width = true.segment_map.shape
    factor = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    picture = as_image(image).resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    return _Seen(pixels, _resized(true, size), _resized(found, size))


def _resized(truth: Truth, size: tuple[int, int]) -> Truth:
    """Segments at another size: each new pixel is the one that lies there."""
    rows = (torch.arange(size[0]) * truth.segment_map.shape[0] // size[0]).long()
    columns = (torch.arange(size[1]) * truth.segment_map.shape[1] // size[1]).long()
    small = truth.segment_map.cpu()[rows][:, columns].clone()
    return replace(truth, segment_map=small)
