"""The spike-driven transformer decoder (SDTD): queries that gather what the maps hold."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.attention import Rearrange, SpikeDrivenCrossAttention
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.neuron_choice import NeuronBuilder
from spikesight.models.spike2former.sizes import Spike2FormerSizes


class DecoderLayer(nn.Module):
    """Q + SDCA(Q, F_i), then Q + SDSA(Q), then Q + ChannelMLP(Q) (eqs. 9-11).

    Args:
        sizes: Widths and options.
        neuron: Builds the neurons.
        cross_neuron: Builds the neurons of the cross attention.
    """

    def __init__(
        self, sizes: Spike2FormerSizes, neuron: NeuronBuilder, cross_neuron: NeuronBuilder
    ) -> None:
        super().__init__()
        assert sizes.attention_scale is not None
        assert sizes.cross_attention_scale is not None
        self.cross_first = sizes.order == "cross_first"
        self.cross_attention, self.self_attention = (
            SpikeDrivenCrossAttention(
                sizes.width,
                sizes.heads,
                scale,
                builder.build,
                mean=sizes.attention_mean,
                projection=sizes.projection,
                bias=sizes.biased,
            )
            for builder, scale in (
                (cross_neuron, sizes.cross_attention_scale),
                (neuron, sizes.attention_scale),
            )
        )
        self.mlp = SpikeDrivenFeedForward(
            sizes.width, sizes.decoder_hidden, 1, neuron.build, bias=sizes.biased
        )
        official = sizes.official_layout
        self.mlp_input = Rearrange("written_channels_last") if official else nn.Identity()
        self.mlp_output = Rearrange("read_channels_last") if official else nn.Identity()

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Queries of the next layer.

        Args:
            query: Stream [T*B, C, 1, Q].
            position: The queries' embeddings [T*B, C, 1, Q].
            key: Map with level and position [T*B, C, H, W].
            value: Map with level [T*B, C, H, W].
            mask: [T*B, Q, H * W], which pixels a query sees; None for all.
        """
        if self.cross_first:
            query = query + self.cross_attention(query + position, key, value, mask)
            query = self._mix(query, position)
        else:
            query = self._mix(query, position)
            query = query + self.cross_attention(query + position, key, value, mask)
        stream: Tensor = query + self.mlp_output(self.mlp(self.mlp_input(query)))
        return stream

    def _mix(self, query: Tensor, position: Tensor) -> Tensor:
        located = query + position
        stream: Tensor = query + self.self_attention(located, located, query)
        return stream
