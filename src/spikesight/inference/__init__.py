"""From a segmenter's logits to masks of a photo. Host code: it runs behind a deployed network."""

from spikesight.inference.instances import Instance, instance_masks
from spikesight.inference.panoptic import PanopticRules, fuse
from spikesight.inference.semantic import semantic_scores
from spikesight.inference.views import View, ViewConfig, panoptic_truth, photo_scores

__all__ = [
    "Instance",
    "PanopticRules",
    "View",
    "ViewConfig",
    "fuse",
    "instance_masks",
    "panoptic_truth",
    "photo_scores",
    "semantic_scores",
]
