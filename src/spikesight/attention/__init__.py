"""Attention between spikes, without softmax."""

from spikesight.attention.product import AttentionProduct
from spikesight.attention.recording import (
    AttentionRecorder,
    AttentionTensors,
    SpikingAttentionRecorder,
)
from spikesight.attention.sdsa import SpikeDrivenSelfAttention

__all__ = [
    "AttentionProduct",
    "AttentionRecorder",
    "AttentionTensors",
    "SpikeDrivenSelfAttention",
    "SpikingAttentionRecorder",
]
