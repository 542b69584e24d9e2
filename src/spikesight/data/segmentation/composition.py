"""Scenes pasted together from cut-outs, with exact masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.data.sampling import derive_seed
from spikesight.data.segmentation.scene import Scene, Truth

_LEAST_VISIBLE = 0.3
_LEAST_PIXELS = 12
_OPAQUE = 0.5
_PARTS = {"train": 0, "val": 1}


@dataclass(frozen=True)
class CutOut:
    """Something to paste.

    Attributes:
        colour: float [h, w, 3] in 0..1.
        alpha: float [h, w] in 0..1.
        label: Its class.
    """

    colour: NDArray[np.float32]
    alpha: NDArray[np.float32]
    label: int


@dataclass(frozen=True)
class ComposedScenes:
    """Scenes that are functions of a seed and their numbers.

    Attributes:
        part: "train" or "val".
        count: Number of scenes.
        size: Height and width in pixels.
    """

    part: str
    count: int
    size: tuple[int, int]
    kind: ClassVar[str]
    panoptic: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """What messages call the scenes."""
        return f"{self.kind} scenes ({self.part})"

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        """The scene's number."""
        return f"{self.name}, number {index}"

    def random(self, seed: int, index: int) -> np.random.Generator:
        """The source of all that is random in a scene."""
        return np.random.default_rng(derive_seed(seed, _PARTS[self.part], index))


def compose(
    background: NDArray[np.float32],
    background_class: int,
    cut_outs: list[tuple[CutOut, int, int]],
    name: str,
) -> Scene:
    """Pastes cut-outs on a background, later ones over earlier ones.

    A pixel belongs to the cut-out whose alpha is above a half there. A cut-out of which the later
    ones leave less than 30 % or 12 pixels visible is not pasted at all, so that no segment is a
    sliver that nobody could name.

    Args:
        background: float [H, W, 3] in 0..1.
        background_class: Its class; the background is segment 0.
        cut_outs: What, and the row and column of its upper left corner; it must lie inside.
        name: What messages call the scene.
    """
    height, width = background.shape[:2]
    kept: list[tuple[CutOut, int, int]] = []
    covered = np.zeros((height, width), bool)
    for cut_out, row, column in reversed(cut_outs):
        solid = cut_out.alpha > _OPAQUE
        window = covered[row : row + solid.shape[0], column : column + solid.shape[1]]
        visible = int((solid & ~window).sum())
        if visible >= max(_LEAST_VISIBLE * int(solid.sum()), _LEAST_PIXELS):
            kept.append((cut_out, row, column))
            window |= solid
    image = background.copy()
    segments = np.zeros((height, width), np.int32)
    labels = [background_class]
    for cut_out, row, column in reversed(kept):
        place = (
            slice(row, row + cut_out.alpha.shape[0]),
            slice(column, column + cut_out.alpha.shape[1]),
        )
        alpha = cut_out.alpha[..., None]
        image[place] = alpha * cut_out.colour + (1 - alpha) * image[place]
        segments[place][cut_out.alpha > _OPAQUE] = len(labels)
        labels.append(cut_out.label)
    pixels = (image.clip(0, 1) * 255).round().astype(np.uint8)
    truth = Truth(
        torch.from_numpy(segments),
        torch.tensor(labels, dtype=torch.int64),
        torch.zeros(len(labels), dtype=torch.bool),
    )
    return Scene(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), truth, name)
