"""Spike-driven mask embedding (SDME) with the ME-Shortcut."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikesight.attention import Rearrange
from spikesight.models.neuron_choice import NeuronBuilder
from spikesight.models.spike2former.sizes import Spike2FormerSizes
from spikesight.neurons import SigmoidNeuron
from spikesight.synapses import SharedScale, Synapse


class QueryOutputs(NamedTuple):
    """What the queries say.

    Attributes:
        classes: Class currents [T*B, K + 1, 1, Q].
        embeddings: Spikes [T*B, C, 1, Q] that select mask features.
    """

    classes: Tensor
    embeddings: Tensor


class MaskMLP(nn.Module):
    """Three linear maps with neurons between them, from spikes to current.

    Args:
        width: Channels C.
        neuron: Builds the neurons.
        norm: Whether the hidden maps have normalisations.
    """

    def __init__(self, width: int, neuron: NeuronBuilder, *, norm: bool) -> None:
        super().__init__()

        def hidden() -> Synapse:
            layers: list[nn.Module] = [nn.Conv2d(width, width, 1, bias=False)]
            return Synapse(*layers, *([nn.BatchNorm2d(width)] if norm else []))

        self.hidden1 = hidden()
        self.neuron1 = neuron.build_mask_embedding()
        self.hidden2 = hidden()
        self.neuron2 = neuron.build_mask_embedding()
        self.output = Synapse(nn.Conv2d(width, width, 1))

    def forward(self, spikes: Tensor) -> Tensor:
        """Current [N, C, 1, Q] from spikes [N, C, 1, Q]."""
        current = self.neuron2(self.hidden2(self.neuron1(self.hidden1(spikes))))
        output: Tensor = self.output(current)
        return output


class MaskEmbedding(nn.Module):
    """SN(MLP(SN(Q)) + w_s * BN(Conv(SN(Q)))) and the classes of SN(Q) (eq. 14).

    Args:
        sizes: Widths and options.
        num_classes: Classes K.
        neuron: Builds the neurons.
    """

    kernel_remedy = 'create the model with mask_embedding="me_shortcut"'
    """What `quantize` says where the shortcut has no convolution."""

    def __init__(self, sizes: Spike2FormerSizes, num_classes: int, neuron: NeuronBuilder) -> None:
        super().__init__()
        width = sizes.width
        self.kind = sizes.mask_embedding
        self.neuron = neuron.build_mask_embedding()
        if sizes.query_gate == "sigmoid":
            remedy = 'create the model with query_gate="neuron"'
            self.neuron = SigmoidNeuron(width, self.neuron, remedy)
        self.classes = Synapse(nn.Conv2d(width, num_classes + 1, 1))
        self.mlp = MaskMLP(width, neuron, norm=sizes.mlp_norm)
        if self.kind == "me_shortcut":
            self.shortcut = Synapse(
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                SharedScale(width, 1.0),
            )
        elif self.kind == "me_shortcut_over_queries":
            queries = sizes.queries
            self.transpose = Rearrange("swap_channels_and_width")
            self.shortcut = Synapse(
                nn.Conv2d(queries, queries, 1, bias=False), nn.BatchNorm2d(queries)
            )
            self.shortcut_scale = Synapse(SharedScale(width, 1.0))
        elif self.kind == "me_shortcut_without_conv":
            self.shortcut = Synapse(nn.BatchNorm2d(width), SharedScale(width, 1.0))
        self.embedding_neuron = neuron.build_mask_embedding()

    def forward(self, query: Tensor) -> QueryOutputs:
        """Classes and embeddings of queries [T*B, C, 1, Q]."""
        spikes = self.neuron(query)
        current = self.mlp(spikes)
        if self.kind == "membrane_shortcut":
            current = current + query
        elif self.kind == "me_shortcut_over_queries":
            mixed = self.transpose(self.shortcut(self.transpose(spikes)))
            current = current + self.shortcut_scale(mixed)
        elif self.kind != "vanilla":
            current = current + self.shortcut(spikes)
        return QueryOutputs(self.classes(spikes), self.embedding_neuron(current))

    @torch.no_grad()
    def initialise(self) -> None:
        """Small weights for the classes, so that no class is favoured at the start."""
        (classes,) = self.classes.children()
        assert isinstance(classes, nn.Conv2d)
        nn.init.trunc_normal_(classes.weight, std=0.02)
