"""Attention between spikes, without softmax."""

from spikesight.attention.deformable_sampling import DeformableSampling
from spikesight.attention.embedding import LearnedEmbedding, SinePosition
from spikesight.attention.mask_product import MaskProduct
from spikesight.attention.product import AttentionProduct
from spikesight.attention.rearranging import Rearrange
from spikesight.attention.recording import (
    AttentionRecorder,
    AttentionTensors,
    SpikingAttentionRecorder,
)
from spikesight.attention.sdca import SpikeDrivenCrossAttention
from spikesight.attention.sdda import NeuronConvNorm, SpikeDrivenDeformableAttention
from spikesight.attention.sdsa import SpikeDrivenSelfAttention

__all__ = [
    "AttentionProduct",
    "AttentionRecorder",
    "AttentionTensors",
    "DeformableSampling",
    "LearnedEmbedding",
    "MaskProduct",
    "NeuronConvNorm",
    "Rearrange",
    "SinePosition",
    "SpikeDrivenCrossAttention",
    "SpikeDrivenDeformableAttention",
    "SpikeDrivenSelfAttention",
    "SpikingAttentionRecorder",
]
