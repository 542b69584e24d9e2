"""Synapses: affine maps that turn spikes into current."""

from spikesight.synapses.layer_scale import (
    LayerScale as LayerScale,
    PowerOfTwoLayerScale as PowerOfTwoLayerScale,
    SharedScale as SharedScale,
)
from spikesight.synapses.membrane_rectifier import MembraneRectifier as MembraneRectifier
from spikesight.synapses.packed_synapse import (
    PackedSynapse as PackedSynapse,
    pack_synapses as pack_synapses,
)
from spikesight.synapses.quantized_synapse import QuantizedSynapse as QuantizedSynapse
from spikesight.synapses.rep_conv import BorderNorm as BorderNorm, RepConv as RepConv
from spikesight.synapses.resizing import BilinearResize as BilinearResize
from spikesight.synapses.separable_conv import (
    EnergyEfficientSeparableConv as EnergyEfficientSeparableConv,
)
from spikesight.synapses.synapse import (
    ConvNorm as ConvNorm,
    DepthwiseSeparableConvNorm as DepthwiseSeparableConvNorm,
    Linear as Linear,
    Synapse as Synapse,
)
from spikesight.synapses.weight_quantizer import (
    QuantizedConv2d as QuantizedConv2d,
    QuantizedLinear as QuantizedLinear,
    WeightQuantizer as WeightQuantizer,
)
