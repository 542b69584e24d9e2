"""The photos in which a detector is wrong most often, and the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from spikesight.data.detection import AnyObjectPreprocessing, Fit
from spikesight.data.detection.mask_geometry import resized_masks
from spikesight.objects import Detections, FoundT, Objects
from spikesight.reports.found_and_missed import draw_found_and_missed
from spikesight.reports.page import paragraph, section
from spikesight.reports.pictures import photo, photos
from spikesight.training.tasks.detection.pictures import match
from spikesight.training.tasks.findings import Findings, Sight, Worst

_WORST, _FIRST = 6, 3
_WIDTH = 1120  # pixels of two views of a photo


class DetectorFindings(Findings):
    """The worst photos and the first ones, with what is there and what was found.

    Args:
        preprocessing: What made the model's images.
        least_score: Of boxes that count as found.
    """

    def __init__(self, preprocessing: AnyObjectPreprocessing, least_score: float) -> None:
        self._steps = preprocessing
        self._least = least_score
        self._worst: Worst[Image.Image] = Worst(_WORST)
        self._first: list[Image.Image] = []
        self._photos = 0

    def note(self, image: Tensor, fit: Fit, there: Objects, found: Detections) -> None:
        """Notes a photo.

        Args:
            image: As the model sees it, before it is normalised: uint8 [C, H, W] or frames.
            fit: Where the photo lies in it.
            there: What is there, in pixels of the photo.
            found: What was found, likewise, the best first.
        """
        shown = found[found.scores >= self._least]
        outcome = match(shown, there)
        wrong = int((~outcome.right & ~outcome.neither).sum()) + int(outcome.missed.sum())
        self._photos += 1
        name = f"validation photo {self._photos}"
        first, worst = len(self._first) < _FIRST, wrong > 0 and self._worst.wants(wrong)
        if not (first or worst):
            return
        height, width = fit.shown
        pixels = self._steps.picture(image)[:, :height, :width].cpu()
        drawn = draw_found_and_missed(
            pixels, _fitted(there, fit), _fitted(shown, fit), outcome, self._steps.classes, name
        )
        drawn.thumbnail((_WIDTH, _WIDTH))
        if first:
            self._first.append(drawn)
        if worst:
            self._worst.add(wrong, drawn)

    def merge(self, other: DetectorFindings) -> None:
        """Takes over what another process noticed."""
        self._worst.merge(other._worst)
        self._first = [*self._first, *other._first][:_FIRST]
        self._photos += other._photos

    def sections(self) -> list[str]:
        """The worst photos."""
        rows: list[tuple[Sequence[str], str]] = []
        for wrong, drawn in self._worst.ranked():
            said = f"{wrong:g} wrong or missed"
            rows.append(
                ([photo(drawn, f"what is there beside what was found: {said}", _WIDTH)], said)
            )
        if not rows:
            return []
        said = (
            f"Of {self._photos:,} validation photos those with most wrong or missed objects. "
            f"Left: what is there. Right: what was found with a score of at least {self._least:g}; "
            "green is right, red is wrong, dashed yellow was missed."
        )
        return [section("Its worst photos", paragraph(said), photos(rows, wide=True))]

    def sights(self) -> list[Sight]:
        """The first photos, each beside what was found."""
        return [Sight(f"photo_{n}", drawn) for n, drawn in enumerate(self._first, start=1)]


def _fitted(objects: FoundT, fit: Fit) -> FoundT:
    """Objects of a photo in pixels of the model's image."""
    across, down = fit.shown[1] / fit.photo[1], fit.shown[0] / fit.photo[0]
    boxes = objects.boxes * torch.tensor([across, down, across, down])
    masks = None if objects.masks is None else resized_masks(objects.masks, fit.shown)
    return replace(objects, boxes=boxes, masks=masks)
