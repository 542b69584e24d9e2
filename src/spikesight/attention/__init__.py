"""Attention between spikes, without softmax; and with it, as a baseline."""

from spikesight.attention.current_product import (
    CurrentProduct as CurrentProduct,
    RunningRate as RunningRate,
)
from spikesight.attention.deformable_sampling import DeformableSampling as DeformableSampling
from spikesight.attention.dssa import DualSpikeSelfAttention as DualSpikeSelfAttention
from spikesight.attention.e_sdsa import (
    EfficientSpikeDrivenSelfAttention as EfficientSpikeDrivenSelfAttention,
    PointwiseRepConv as PointwiseRepConv,
)
from spikesight.attention.elementwise_attention import (
    AttentionPools as AttentionPools,
    ElementwiseSelfAttention as ElementwiseSelfAttention,
)
from spikesight.attention.embedding import (
    LearnedEmbedding as LearnedEmbedding,
    SinePosition as SinePosition,
)
from spikesight.attention.gate import Gate as Gate, SpikeSum as SpikeSum
from spikesight.attention.mask_product import MaskProduct as MaskProduct
from spikesight.attention.product import AttentionProduct as AttentionProduct
from spikesight.attention.rearranging import Rearrange as Rearrange
from spikesight.attention.recording import (
    AttentionRecorder as AttentionRecorder,
    AttentionTensors as AttentionTensors,
    SpikingAttentionRecorder as SpikingAttentionRecorder,
)
from spikesight.attention.sdca import SpikeDrivenCrossAttention as SpikeDrivenCrossAttention
from spikesight.attention.sdda import (
    NeuronConvNorm as NeuronConvNorm,
    SpikeDrivenDeformableAttention as SpikeDrivenDeformableAttention,
)
from spikesight.attention.sdsa import (
    RepConvForm as RepConvForm,
    SpikeDrivenSelfAttention as SpikeDrivenSelfAttention,
)
from spikesight.attention.spike_driven_rep_conv import SpikeDrivenRepConv as SpikeDrivenRepConv
from spikesight.attention.spiking_self_attention import (
    SoftmaxProduct as SoftmaxProduct,
    SoftmaxSelfAttention as SoftmaxSelfAttention,
    SpikingSelfAttention as SpikingSelfAttention,
)
from spikesight.attention.token_attention import TokenAttention as TokenAttention
