"""What a classifier takes for what, and the mistakes of which it was most sure."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spikesight.data.events import draw_film
from spikesight.data.photos.preprocessing import to_tensor
from spikesight.files.names import show
from spikesight.reports.confusions import confusion_matrix, counted
from spikesight.reports.guess_sheet import draw_guesses
from spikesight.reports.page import paragraph, section
from spikesight.reports.pictures import Guess, guess_grid, shrunk
from spikesight.training.tasks.findings import Findings, Sight, Worst

_MISTAKES = 24
_FIRST = 16
_SIDE = 192  # pixels that are kept of a photo
_MOST_CLASSES = 1000  # of a matrix


class ClassifierFindings(Findings):
    """The confusion matrix, the worst mistakes, and the first photos.

    Args:
        names: Names of the classes, as many as the model has outputs or fewer.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._counts = torch.zeros(0, 0, dtype=torch.int64)
        self._worst: Worst[Guess] = Worst(_MISTAKES)
        self._first: list[Guess] = []
        self._images = self._wrong = 0

    def note(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Notes a batch.

        Args:
            images: uint8 [B, C, H, W], or counts of events [B, T, C, H, W].
            labels: Class numbers [B].
            logits: [B, K].
        """
        shares, guesses = logits.softmax(1).max(1)
        labels, shares, guesses = labels.cpu(), shares.cpu(), guesses.cpu()
        classes = logits.shape[1]
        if classes <= _MOST_CLASSES:
            counts = counted(labels, guesses, classes)
            self._counts = self._counts + counts if len(self._counts) else counts
        wrong = (guesses != labels).nonzero()[:, 0].tolist()
        self._images += len(labels)
        self._wrong += len(wrong)
        for place in range(min(len(labels), _FIRST - len(self._first))):
            self._first.append(self._guess(images, place, labels, guesses, shares))
        for place in wrong:
            share = float(shares[place])
            if self._worst.wants(share):
                self._worst.add(share, self._guess(images, place, labels, guesses, shares))

    def _guess(
        self, images: Tensor, place: int, labels: Tensor, guesses: Tensor, shares: Tensor
    ) -> Guess:
        truth, guess = self._name(int(labels[place])), self._name(int(guesses[place]))
        return Guess(_shown(images[place]), truth, guess, float(shares[place]))

    def _name(self, number: int) -> str:
        return show(self._names[number]) if number < len(self._names) else str(number)

    def merge(self, other: ClassifierFindings) -> None:
        """Takes over what another process noticed."""
        if len(other._counts):
            self._counts = self._counts + other._counts if len(self._counts) else other._counts
        self._worst.merge(other._worst)
        self._first = [*self._first, *other._first][:_FIRST]
        self._images += other._images
        self._wrong += other._wrong

    def sections(self) -> list[str]:
        """What is taken for what, and the worst mistakes."""
        parts = []
        if len(self._counts) and self._images:
            names = [self._name(number) for number in range(len(self._counts))]
            parts.append(section("What it takes for what", confusion_matrix(self._counts, names)))
        mistakes = [guess for _, guess in self._worst.ranked()]
        if mistakes:
            said = (
                f"{self._wrong:,} of {self._images:,} validation images are wrong. These are the "
                "mistakes of which it was most sure. Below each: its guess, and how sure it is."
            )
            parts.append(section("Its worst mistakes", paragraph(said), guess_grid(mistakes)))
        elif self._images:
            said = f"All {self._images:,} validation images are right."
            parts.append(section("Its worst mistakes", paragraph(said)))
        return parts

    def sights(self) -> list[Sight]:
        """The first photos with guesses."""
        return [Sight("guesses", draw_guesses(self._first))] if self._first else []


def _shown(image: Tensor) -> Tensor:
    """A photo, or frames of events in a film, uint8 [C, h, w], no larger than needed."""
    image = image.cpu()
    if image.ndim == 4:
        image = to_tensor(draw_film(image.int()))
    return shrunk(image, _SIDE)
