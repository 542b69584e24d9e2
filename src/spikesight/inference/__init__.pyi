from .config import DetectionConfig, PanopticRules, ViewConfig
from .detection import decode_detections
from .instances import Instance, instance_masks
from .panoptic import fuse
from .semantic import class_map, semantic_scores
from .views import (
    View,
    enlarged,
    panoptic_segments,
    panoptic_truths,
    photo_scores,
    single_view,
)

__all__ = [
    "DetectionConfig",
    "Instance",
    "PanopticRules",
    "View",
    "ViewConfig",
    "class_map",
    "decode_detections",
    "enlarged",
    "fuse",
    "instance_masks",
    "panoptic_segments",
    "panoptic_truths",
    "photo_scores",
    "semantic_scores",
    "single_view",
]
