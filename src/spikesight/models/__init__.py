"""Model families; importing this package registers every one of them."""

from spikesight.models import metaspikformer, spike2former
from spikesight.models.base import Recipe, SpikingModel

__all__ = ["Recipe", "SpikingModel", "metaspikformer", "spike2former"]
