"""Digits that move before an event camera, with exact boxes: recordings without a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.data.detection.annotated_images import AnnotatedImage
from spikesight.data.detection.event_config import EventObjectConfig
from spikesight.data.detection.event_preprocessing import window_frames
from spikesight.data.events.level_crossings import level_crossings
from spikesight.data.events.recording import Events
from spikesight.data.photos.painted_digits import digit_alpha, usable_digits
from spikesight.data.sampling import derive_seed
from spikesight.data.segmentation.config import LEAST_OBJECT
from spikesight.data.segmentation.scene import ClassTable, table_of
from spikesight.data.sources import ArraySource
from spikesight.objects import Objects

_PARTS = {"train": 0, "val": 1}
_MOMENTS = 33
_OPAQUE = 0.5
_OVERLAP = 0.2  # share of the smaller digit's square, at the end
_TRIES = 50
_DISTANCE = (0.1, 0.4)  # of the shorter side, on the way


@dataclass(frozen=True)
class _Digit:
    """A digit on its way.

    Attributes:
        alpha: How far its ink covers what is behind it, [side, side].
        ink: Its brightness.
        label: Its class.
        start: Row and column of its upper left corner at first.
        stop: At last.
    """

    alpha: NDArray[np.float64]
    ink: float
    label: int
    start: NDArray[np.float64]
    stop: NDArray[np.float64]

    def box(self) -> list[float]:
        """Left, top, right and bottom edge of its ink at last."""
        row, column = self.stop
        rows, columns = (np.flatnonzero((self.alpha > _OPAQUE).any(axis)) for axis in (1, 0))
        return [
            column + columns[0],
            row + rows[0],
            column + columns[-1] + 1,
            row + rows[-1] + 1,
        ]


@dataclass(frozen=True)
class MovingDigits:
    """Samples in which scikit-learn's digits move straight on, each at a speed of its own.

    Each is a function of the seed and its number: light digits before a dark ground are seen by
    `level_crossings` for a window, at whose end the boxes are true. A fifth of the digits of each
    class is only ever seen in validation.

    Attributes:
        part: "train" or "val".
        count: Number of samples.
        size: Height and width of the sensor.
        seed: Seed of the division and of the samples.
        digits: Smallest and largest number of digits.
        scale: Smallest and largest side of a digit, as a share of the shorter side.
        config: The window, its frames, and the camera's threshold.
    """

    part: str
    count: int
    size: tuple[int, int]
    seed: int
    digits: tuple[int, int]
    scale: tuple[float, float]
    config: EventObjectConfig
    masks: bool = False

    @property
    def classes(self) -> ClassTable:
        """The ten digits."""
        return table_of(tuple(str(digit) for digit in range(10)), tuple(range(10)))

    @property
    def name(self) -> str:
        """What messages call the samples."""
        return f"moving digits ({self.part})"

    @property
    def notes(self) -> str:
        """How many samples there are."""
        return f"{self.count:,} simulated recordings"

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        """The sample's number."""
        return f"{self.name}, number {index}"

    def record(self, index: int) -> tuple[Events, Objects]:
        """Events of one sample, from 0 to the window's end, and what is there then."""
        random = np.random.default_rng(derive_seed(self.seed, _PARTS[self.part], index))
        ground = random.uniform(0.0, 0.3)
        digits = self._digits(random)
        times = np.linspace(0, self.config.window, _MOMENTS)
        film = torch.full((_MOMENTS, *self.size), ground, dtype=torch.float64)
        for moment, share in enumerate(np.linspace(0, 1, _MOMENTS)):
            for digit in digits:
                _paint(
                    film[moment].numpy(), digit, digit.start + share * (digit.stop - digit.start)
                )
        events = level_crossings(film, times, self.config.threshold).between(0, self.config.window)
        objects = Objects(
            torch.tensor([digit.box() for digit in digits], dtype=torch.float32).reshape(-1, 4),
            torch.tensor([digit.label for digit in digits], dtype=torch.int64),
            torch.zeros(len(digits), dtype=torch.bool),
        )
        return events.between(0, self.config.window), objects

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        """Simulates one sample."""
        events, objects = self.record(index)
        config = self.config
        frames = window_frames(events, config.window, config.window, config.frames, config.slicing)
        return AnnotatedImage(frames, objects)

    def _digits(self, random: np.random.Generator) -> list[_Digit]:
        source, usable = _usable(self.part, self.seed)
        shorter = min(self.size)
        wanted = int(random.integers(self.digits[0], self.digits[1] + 1))
        placed: list[_Digit] = []
        for _ in range(_TRIES * wanted):
            if len(placed) == wanted:
                break
            chosen = int(usable[int(random.integers(len(usable)))])
            side = max(round(shorter * random.uniform(*self.scale)), LEAST_OBJECT)
            room = np.array(self.size) - side
            stop = random.uniform(0, 1, 2) * room
            angle, distance = random.uniform(0, 2 * np.pi), random.uniform(*_DISTANCE) * shorter
            start = stop + distance * np.array([np.sin(angle), np.cos(angle)])
            if (start < 0).any() or (start > room).any() or _covers(stop, side, placed):
                continue
            alpha = digit_alpha(source.images[chosen], side).astype(np.float64)
            ink = random.uniform(0.5, 1.0)
            placed.append(_Digit(alpha, ink, int(source.labels[chosen]), start, stop))
        return placed


def _covers(stop: NDArray[np.float64], side: int, placed: list[_Digit]) -> bool:
    """Whether a digit would lie over another one at last."""
    for other in placed:
        width = len(other.alpha)
        shared = np.minimum(stop + side, other.stop + width) - np.maximum(stop, other.stop)
        if shared.clip(0).prod() > _OVERLAP * min(side, width) ** 2:
            return True
    return False


def _paint(picture: NDArray[np.float64], digit: _Digit, place: NDArray[np.float64]) -> None:
    """Puts a digit's ink where its corner lies, between pixels in shares of them."""
    side = len(digit.alpha)
    (row, column), (down, across) = np.floor(place).astype(int), place % 1
    alpha = np.zeros((side + 1, side + 1))
    for rows, share in ((0, 1 - down), (1, down)):
        for columns, part in ((0, 1 - across), (1, across)):
            alpha[rows : rows + side, columns : columns + side] += share * part * digit.alpha
    shown = picture[row : row + side + 1, column : column + side + 1]
    alpha = alpha[: shown.shape[0], : shown.shape[1]]
    shown += alpha * (digit.ink - shown)


@cache
def _usable(part: str, seed: int) -> tuple[ArraySource, Tensor]:
    """The digits and the positions of a part's; read once per process."""
    return usable_digits(part == "val", seed)
