"""Synapses: affine maps that turn spikes into current."""

from spikesight.synapses.layer_scale import LayerScale, PowerOfTwoLayerScale, SharedScale
from spikesight.synapses.membrane_rectifier import MembraneRectifier
from spikesight.synapses.packed_synapse import PackedSynapse, pack_synapses
from spikesight.synapses.quantized_synapse import QuantizedSynapse
from spikesight.synapses.rep_conv import BorderNorm, RepConv
from spikesight.synapses.resizing import BilinearResize
from spikesight.synapses.separable_conv import EnergyEfficientSeparableConv
from spikesight.synapses.synapse import ConvNorm, DepthwiseSeparableConvNorm, Linear, Synapse
from spikesight.synapses.weight_quantizer import (
    QuantizedConv2d,
    QuantizedLinear,
    WeightQuantizer,
)

__all__ = [
    "BilinearResize",
    "BorderNorm",
    "ConvNorm",
    "DepthwiseSeparableConvNorm",
    "EnergyEfficientSeparableConv",
    "LayerScale",
    "Linear",
    "MembraneRectifier",
    "PackedSynapse",
    "PowerOfTwoLayerScale",
    "QuantizedConv2d",
    "QuantizedLinear",
    "QuantizedSynapse",
    "RepConv",
    "SharedScale",
    "Synapse",
    "WeightQuantizer",
    "pack_synapses",
]
