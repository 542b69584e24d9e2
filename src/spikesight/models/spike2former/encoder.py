"""The spike-driven deformable transformer encoder (SDTE)."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.attention import (
    Rearrange,
    SpikeDrivenDeformableAttention,
    SpikeDrivenSelfAttention,
)
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.neuron_choice import NeuronBuilder
from spikesight.models.spike2former.sizes import Spike2FormerSizes
from spikesight.synapses import EnergyEfficientSeparableConv, LayerScale, Synapse


class DeformableEncoderLayer(nn.Module):
    """x + ESC(x), then x + SDDA(x), then x + MLP(x), each branch with a layer scale.

    Args:
        sizes: Widths and options.
        neuron: Builds the neurons.
    """

    def __init__(self, sizes: Spike2FormerSizes, neuron: NeuronBuilder) -> None:
        super().__init__()
        width = sizes.width
        self.conv: nn.Module | None = None
        if sizes.encoder_conv:
            self.conv = EnergyEfficientSeparableConv(
                width, neuron.build, ratio=2, kernel_size=sizes.separable_kernel
            )
            self.conv_scale = Synapse(LayerScale(width, sizes.layer_scale))
        self.attention = SpikeDrivenDeformableAttention(
            width,
            sizes.groups,
            neuron.build,
            kernel_size=sizes.deformable_kernel,
            separable=sizes.deformable_separable,
            depthwise=sizes.deformable_depthwise,
            spiked=sizes.spiked,
            bias=sizes.biased,
            official_layout=sizes.official_layout,
            offset_bits=sizes.offset_bits,
        )
        self.attention_scale = Synapse(LayerScale(width, sizes.layer_scale))
        self.mlp = SpikeDrivenFeedForward(
            width, sizes.encoder_hidden, 1, neuron.build, bias=sizes.biased
        )
        self.mlp_layout = (
            Rearrange("read_channels_last") if sizes.official_layout else nn.Identity()
        )
        self.mlp_scale = Synapse(LayerScale(width, sizes.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        if self.conv is not None:
            x = x + self.conv_scale(self.conv(x))
        x = x + self.attention_scale(self.attention(x))
        stream: Tensor = x + self.mlp_scale(self.mlp_layout(self.mlp(x)))
        return stream


class VanillaEncoderLayer(nn.Module):
    """x + SDSA(x), then x + MLP(x): attention between all pixels instead of sampled ones.

    Table 3, "Vanilla Transformer Encoder"; the released code has none, so this is a
    reconstruction with Meta-SpikeFormer's self-attention.

    Args:
        sizes: Widths and options.
        neuron: Builds the neurons.
    """

    def __init__(self, sizes: Spike2FormerSizes, neuron: NeuronBuilder) -> None:
        super().__init__()
        assert sizes.attention_scale is not None
        width = sizes.width
        self.attention = SpikeDrivenSelfAttention(
            width,
            sizes.heads,
            sizes.attention_scale,
            neuron.build,
            neuron.build,
            mean=sizes.attention_mean,
        )
        self.attention_scale = Synapse(LayerScale(width, sizes.layer_scale))
        self.mlp = SpikeDrivenFeedForward(
            width, sizes.encoder_hidden, 1, neuron.build, bias=sizes.biased
        )
        self.mlp_scale = Synapse(LayerScale(width, sizes.layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        x = x + self.attention_scale(self.attention(x))
        stream: Tensor = x + self.mlp_scale(self.mlp(x))
        return stream


def build_encoder(sizes: Spike2FormerSizes, neuron: NeuronBuilder) -> nn.Sequential:
    """The encoder's layers; empty for table 3's "w/o. SD Deformable Transformer Encoder"."""
    kinds = {"deformable": DeformableEncoderLayer, "vanilla": VanillaEncoderLayer}
    if sizes.encoder == "none":
        return nn.Sequential()
    layer = kinds[sizes.encoder]
    return nn.Sequential(*(layer(sizes, neuron) for _ in range(sizes.encoder_layers)))
