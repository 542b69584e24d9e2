"""Model families; importing this package registers every one of them."""

from spikesight.models import (
    metaspikformer,
    spike2former,
    spike_fpn,
    spikformer,
    spikformer_v2,
)
from spikesight.models.base import Recipe, SpikingModel
from spikesight.models.features import StageFeatures
from spikesight.models.masked_image import MaskedAutoencoder, MaskedImageSizes
from spikesight.models.streaming import Stream, stream

__all__ = [
    "MaskedAutoencoder",
    "MaskedImageSizes",
    "Recipe",
    "SpikingModel",
    "StageFeatures",
    "Stream",
    "metaspikformer",
    "spike2former",
    "spike_fpn",
    "spikformer",
    "spikformer_v2",
    "stream",
]
