"""Mask R-CNN of spikes: boxes with classes and masks, in two stages."""

from spikesight.models.mask_rcnn.model import MaskRCNN as MaskRCNN
from spikesight.models.mask_rcnn.outputs import (
    RegionDetections as RegionDetections,
    RegionMaps as RegionMaps,
)
from spikesight.models.mask_rcnn.sizes import MaskRCNNSizes as MaskRCNNSizes
