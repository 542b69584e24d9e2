"""Model families; importing this package registers every one of them."""

from spikesight.models import metaspikformer, spikformer, spikformer_v2
from spikesight.models.base import Recipe, SpikingModel

__all__ = ["Recipe", "SpikingModel", "metaspikformer", "spikformer", "spikformer_v2"]
