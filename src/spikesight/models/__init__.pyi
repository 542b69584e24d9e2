from . import (
    espikeformer as espikeformer,
    mask_rcnn as mask_rcnn,
    maxformer as maxformer,
    metaspikformer as metaspikformer,
    ms_qkformer as ms_qkformer,
    qkformer as qkformer,
    sdtv1 as sdtv1,
    semantic_fpn as semantic_fpn,
    spike2former as spike2former,
    spike_det as spike_det,
    spike_fpn as spike_fpn,
    spikformer as spikformer,
    spikformer_v2 as spikformer_v2,
    spikingresformer as spikingresformer,
)
from .base import DropPath, GlobalPool, Presentation, Readout, Recipe, SpikingModel
from .classifier import Classifier
from .features import StageFeatures
from .feed_forward import SpikeDrivenFeedForward, SpikingFeedForward
from .masked_image import MaskedAutoencoder, MaskedImageSizes
from .neuron_choice import NeuronChoice
from .streaming import Stream, stream
from .variants import build_classifier

__all__ = [
    "Classifier",
    "DropPath",
    "GlobalPool",
    "MaskedAutoencoder",
    "MaskedImageSizes",
    "NeuronChoice",
    "Presentation",
    "Readout",
    "Recipe",
    "SpikeDrivenFeedForward",
    "SpikingFeedForward",
    "SpikingModel",
    "StageFeatures",
    "Stream",
    "build_classifier",
    "mask_rcnn",
    "maxformer",
    "metaspikformer",
    "ms_qkformer",
    "qkformer",
    "sdtv1",
    "semantic_fpn",
    "spike2former",
    "spike_det",
    "spike_fpn",
    "spikformer",
    "spikformer_v2",
    "spikingresformer",
    "stream",
]
