"""Metrics of detection and segmentation: what they collect adds up over images and processes."""

from spikesight.metrics.average_precision import AveragePrecision, DetectionQuality, Precision
from spikesight.metrics.panoptic import PanopticCounts, PanopticQuality, Quality
from spikesight.metrics.semantic import ConfusionMatrix

__all__ = [
    "AveragePrecision",
    "ConfusionMatrix",
    "DetectionQuality",
    "PanopticCounts",
    "PanopticQuality",
    "Precision",
    "Quality",
]
