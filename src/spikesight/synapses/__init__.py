"""Synapses: affine maps that turn spikes into current."""

from spikesight.synapses.layer_scale import LayerScale
from spikesight.synapses.rep_conv import BorderNorm, RepConv
from spikesight.synapses.synapse import ConvNorm, DepthwiseSeparableConvNorm, Linear, Synapse

__all__ = [
    "BorderNorm",
    "ConvNorm",
    "DepthwiseSeparableConvNorm",
    "LayerScale",
    "Linear",
    "RepConv",
    "Synapse",
]
