"""Attention between spikes, without softmax; and with it, as a baseline."""

from spikesight.attention.product import AttentionProduct
from spikesight.attention.recording import (
    AttentionRecorder,
    AttentionTensors,
    SpikingAttentionRecorder,
)
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
    "RepConvForm",
    "SoftmaxProduct",
    "SoftmaxSelfAttention",
    "SpikeDrivenRepConv",
    "SpikeDrivenSelfAttention",
    "SpikingAttentionRecorder",
    "SpikingSelfAttention",
]
