"""Attention between spikes, without softmax; and with it, as a baseline."""

from spikesight.attention.product import AttentionProduct
from spikesight.attention.recording import (
    AttentionRecorder,
    AttentionTensors,
    SpikingAttentionRecorder,
)
from spikesight.attention.sdsa import SpikeDrivenSelfAttention
from spikesight.attention.spiking_self_attention import (
    SoftmaxProduct,
    SoftmaxSelfAttention,
    SpikingSelfAttention,
)

__all__ = [
    "AttentionProduct",
    "AttentionRecorder",
    "AttentionTensors",
    "SoftmaxProduct",
    "SoftmaxSelfAttention",
    "SpikeDrivenSelfAttention",
    "SpikingAttentionRecorder",
    "SpikingSelfAttention",
]
