"""Attention between spikes, without softmax."""

from spikesight.attention.product import AttentionProduct
from spikesight.attention.recording import (
    AttentionRecorder,
    AttentionTensors,
    SpikingAttentionRecorder,
)
from spikesight.attention.sdsa import RepConvForm, SpikeDrivenSelfAttention
from spikesight.attention.spike_driven_rep_conv import SpikeDrivenRepConv

__all__ = [
    "AttentionProduct",
    "AttentionRecorder",
    "AttentionTensors",
    "RepConvForm",
    "SpikeDrivenRepConv",
    "SpikeDrivenSelfAttention",
    "SpikingAttentionRecorder",
]
