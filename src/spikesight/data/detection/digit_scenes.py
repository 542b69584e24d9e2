"""Handwritten digits in composed scenes as objects with exact boxes and masks: no file needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spikesight.data.detection.annotated_images import AnnotatedImage
from spikesight.data.segmentation.digit_scenes import BACKGROUND, DigitScenes
from spikesight.data.segmentation.scene import ClassTable, table_of
from spikesight.objects import Objects


@dataclass(frozen=True)
class DigitObjects:
    """The digits of `DigitScenes`; a box encloses what later digits leave visible of one.

    Attributes:
        scenes: The scenes.
    """

    scenes: DigitScenes
    masks: bool = True

    @property
    def classes(self) -> ClassTable:
        """The ten digits."""
        return table_of(self.scenes.classes.names[:BACKGROUND], tuple(range(BACKGROUND)))

    @property
    def name(self) -> str:
        """What messages call the scenes."""
        return self.scenes.name

    @property
    def notes(self) -> str:
        """How many scenes there are."""
        return f"{len(self.scenes):,} composed scenes"

    def __len__(self) -> int:
        return len(self.scenes)

    def describe(self, index: int) -> str:
        """The scene's number."""
        return self.scenes.describe(index)

    def read(self, index: int, masks: bool) -> AnnotatedImage:
        """Composes one scene."""
        scene = self.scenes.read(index)
        truth = scene.truth
        digits = (truth.segment_classes != BACKGROUND).nonzero()[:, 0]
        shapes = truth.segment_map == digits[:, None, None]
        objects = Objects(
            boxes_of_masks(shapes),
            truth.segment_classes[digits],
            truth.crowd[digits],
            shapes if masks else None,
        )
        return AnnotatedImage(scene.image, objects)


def boxes_of_masks(masks: torch.Tensor) -> torch.Tensor:
    """The box around each mask, float32 [N, 4]; of an empty one without an area.

    Args:
        masks: bool [N, H, W].
    """
    edges = []
    for axis in (1, 2):
        used = masks.any(axis).byte()
        length = used.shape[1]
        first, last = used.argmax(1), length - used.flip(1).argmax(1)
        some = used.any(1)
        edges.append((first * some, last * some))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], 1).float()
