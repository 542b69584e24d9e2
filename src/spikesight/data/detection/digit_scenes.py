"""Handwritten digits in composed scenes as objects with exact boxes and masks: no file needed."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.data.detection.annotated_images import AnnotatedImage
from spikesight.data.detection.mask_geometry import mask_boxes
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
            mask_boxes(shapes),
            truth.segment_classes[digits],
            truth.crowd[digits],
            shapes if masks else None,
        )
        return AnnotatedImage(scene.image, objects)
