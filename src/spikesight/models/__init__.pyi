from . import (
    metaspikformer as metaspikformer,
    spike2former as spike2former,
    spike_fpn as spike_fpn,
    spikformer as spikformer,
    spikformer_v2 as spikformer_v2,
)
from .base import Recipe, SpikingModel
from .features import StageFeatures
from .masked_image import MaskedAutoencoder, MaskedImageSizes
from .streaming import Stream, stream

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
