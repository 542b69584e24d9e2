"""Model families; importing this package registers every one of them."""

from spikesight.models import metaspikformer, spike2former
from spikesight.models.base import Recipe, SpikingModel
from spikesight.models.features import StageFeatures

__all__ = ["Recipe", "SpikingModel", "StageFeatures", "metaspikformer", "spike2former"]
