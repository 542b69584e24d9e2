"""From a segmenter's logits to masks of a photo. Host code: it runs behind a deployed network."""

from spikesight.inference.instances import Instance, instance_masks
from spikesight.inference.panoptic import PanopticRules, fuse
from spikesight.inference.semantic import class_map, semantic_scores
from spikesight.inference.views import (
    View,
    ViewConfig,
    enlarged,
    panoptic_truths,
    photo_scores,
    single_view,
)

__all__ = [
    "Instance",
    "PanopticRules",
    "View",
    "ViewConfig",
    "class_map",
    "enlarged",
    "fuse",
    "instance_masks",
    "panoptic_truths",
    "photo_scores",
    "semantic_scores",
    "single_view",
]
