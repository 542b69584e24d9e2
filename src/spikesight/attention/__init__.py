"""Attention between spikes, without softmax; and with it, as a baseline."""

from spikesight.attention.deformable_sampling import DeformableSampling
from spikesight.attention.embedding import LearnedEmbedding, SinePosition
from spikesight.attention.gate import Gate, SpikeSum
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
from spikesight.attention.sdsa import RepConvForm, SpikeDrivenSelfAttention
from spikesight.attention.spike_driven_rep_conv import SpikeDrivenRepConv
from spikesight.attention.spiking_self_attention import (
    SoftmaxProduct,
    SoftmaxSelfAttention,
    SpikingSelfAttention,
)

__all__ = [
    "AttentionProduct",
    "AttentionRecorder",
    "AttentionTensors",
    "DeformableSampling",
    "Gate",
    "LearnedEmbedding",
    "MaskProduct",
    "NeuronConvNorm",
    "Rearrange",
    "RepConvForm",
    "SinePosition",
    "SoftmaxProduct",
    "SoftmaxSelfAttention",
    "SpikeDrivenCrossAttention",
    "SpikeDrivenDeformableAttention",
    "SpikeDrivenRepConv",
    "SpikeDrivenSelfAttention",
    "SpikeSum",
    "SpikingAttentionRecorder",
    "SpikingSelfAttention",
]
