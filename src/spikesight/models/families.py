"""Every family of models; importing this module registers them."""

from spikesight.models import (  # noqa: F401
    espikeformer,
    mask_rcnn,
    maxformer,
    metaspikformer,
    ms_qkformer,
    qkformer,
    sdtv1,
    semantic_fpn,
    spike2former,
    spike_det,
    spike_fpn,
    spikformer,
    spikformer_v2,
    spikingresformer,
)
