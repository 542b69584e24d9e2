"""Synapses: affine maps that turn spikes into current."""

from spikesight.synapses.layer_scale import LayerScale, PowerOfTwoLayerScale
from spikesight.synapses.quantized_synapse import QuantizedSynapse
from spikesight.synapses.rep_conv import BorderNorm, RepConv
from spikesight.synapses.synapse import ConvNorm, DepthwiseSeparableConvNorm, Linear, Synapse
from spikesight.synapses.weight_quantizer import (
    QuantizedConv2d,
    QuantizedLinear,
    WeightQuantizer,
)

__all__ = [
    "BorderNorm",
    "ConvNorm",
    "DepthwiseSeparableConvNorm",
    "LayerScale",
    "Linear",
    "PowerOfTwoLayerScale",
    "QuantizedConv2d",
    "QuantizedLinear",
    "QuantizedSynapse",
    "RepConv",
    "Synapse",
    "WeightQuantizer",
]
