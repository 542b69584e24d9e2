"""What a validation notices besides its figures: a task's part of the run's page."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from accelerate import Accelerator
from PIL import Image

from spikesight.training.runs.processes import joined

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Sight:
    """A picture of what a model makes of photos.

    Attributes:
        name: What TensorBoard calls it, the same after every epoch.
        picture: The picture.
    """

    name: str
    picture: Image.Image


class Findings(ABC):
    """Looks on while a model is validated. It costs no forward pass, and no fault of it is a run's.

    `Task.findings` makes one for each validation; the task's `measure` tells it each batch by
    `tell`. Where something within fails, nothing more is noticed and `failure` says why.

    Attributes:
        failure: What went wrong, if anything did.
    """

    failure: str | None = None

    def tell(self, *seen: Any) -> None:
        """Notes a batch or a photo with what the model said of it; as `note`, but never raises."""
        if self.failure is None:
            try:
                self.note(*seen)
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"

    @abstractmethod
    def note(self, *seen: Any) -> None:
        """Notes a batch or a photo; what is passed is the task's own affair."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Takes over what another process noticed."""

    @abstractmethod
    def sections(self) -> list[str]:
        """Parts of the page, as HTML."""

    @abstractmethod
    def sights(self) -> list[Sight]:
        """A few pictures of the same photos after every epoch."""

    def of_all(self, accelerator: Accelerator) -> Self:
        """What all processes noticed; each of them calls it."""
        first, *others = joined(accelerator, [self])
        for other in others:
            first.failure = first.failure or other.failure
            if first.failure is None:
                try:
                    first.merge(other)
                except Exception as error:
                    first.failure = f"{type(error).__name__}: {error}"
        return first


class Worst(Generic[ItemT]):
    """Keeps the items of the highest scores among any number.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, ItemT]] = []
        self._added = 0

    def wants(self, score: float) -> bool:
        """Whether an item of this score would be kept."""
        return len(self._heap) < self._most or score > self._heap[0][0]

    def add(self, score: float, item: ItemT) -> None:
        """Adds an item; of equal ones the first stay."""
        self._added += 1
        entry = (score, -self._added, item)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif score > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)

    def merge(self, other: Worst[ItemT]) -> None:
        """Adds what another one kept."""
        for score, item in other.ranked():
            self.add(score, item)

    def ranked(self) -> Sequence[tuple[float, ItemT]]:
        """Scores and items, the highest score first."""
        ordered = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [(score, item) for score, _, item in ordered]
