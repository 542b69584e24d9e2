"""Spike2Former: a trunk, a pixel decoder, queries that become classified masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikesight.attention import (
    LearnedEmbedding,
    MaskProduct,
    SinePosition,
    SpikeDrivenDeformableAttention,
)
from spikesight.errors import UserError
from spikesight.models.base import SpikingModel, trunk_layers
from spikesight.models.neuron_choice import (
    NeuronBuilder,
    NeuronChoice,
    mean_attention_scale,
)
from spikesight.models.spike2former.decoder import DecoderLayer
from spikesight.models.spike2former.denoising import SegmentNoise, kept_statistics
from spikesight.models.spike2former.mask_embedding import MaskEmbedding, QueryOutputs
from spikesight.models.spike2former.normalisation import HeadNeurons, choose_neurons
from spikesight.models.spike2former.pixel_decoder import PixelDecoder, memory_count
from spikesight.models.spike2former.sizes import (
    ABLATIONS,
    MULTIPLICATION_FREE,
    OFFICIAL,
    Spike2FormerSizes,
)
from spikesight.models.trunks import (
    build_trunk,
    resolved_options,
    take_head_sizes,
)
from spikesight.models.variants import register_variants
from spikesight.presentation import QueryReadout, Readout
from spikesight.registry import register_family
from spikesight.segmentation_outputs import DenoisedSegments, Segmentation
from spikesight.synapses import Synapse
from spikesight.synapses.resizing import bilinear_resize

if TYPE_CHECKING:
    from spikesight.losses.segments import Segments


class Spike2Former(SpikingModel):
    """Spike2Former (AAAI 2025), a spiking Mask2Former.

    Args:
        sizes: Sizes and options.
        neurons: Neurons of all parts.
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the trunk.
    """

    gives = "segments"

    def __init__(
        self,
        sizes: Spike2FormerSizes,
        neurons: HeadNeurons,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        choice = neurons.trunk
        sizes = _resolve(sizes, neurons)
        trunk = build_trunk(sizes.trunk, sizes.trunk_options, choice, in_channels, drop_path_rate)
        self.sizes = sizes = replace(sizes, trunk_options=resolved_options(trunk))
        named = {} if sizes.normalisation else {"neuron": choice.name}
        self.resolved = {**vars(sizes), **named, "levels": choice.levels}
        self.steps = choice.steps
        self.num_classes = num_classes
        if sizes.masked_attention:
            self.untraceable = (
                "masked_attention=True lets each query see its last mask's pixels alone, which "
                "the vocabulary cannot say; create the model with masked_attention=False"
            )
        channels = trunk.channels
        self.pixel_decoder = PixelDecoder(channels, sizes, neurons.head)
        levels = min(memory_count(channels), sizes.decoder_layers)
        self.query_feature = LearnedEmbedding(sizes.width, sizes.queries)
        self.query_position = LearnedEmbedding(sizes.width, sizes.queries)
        self.levels = nn.ModuleList(LearnedEmbedding(sizes.width, 1) for _ in range(levels))
        self.position = SinePosition(sizes.width)
        self.decoder = nn.ModuleList(
            DecoderLayer(sizes, neurons.head, neurons.cross) for _ in range(sizes.decoder_layers)
        )
        self.mask_embedding = MaskEmbedding(sizes, num_classes, neurons.head)
        signed = sizes.mask_features == "current"
        self.mask_product = MaskProduct(inhibitory=0 if signed else sizes.width // 2)
        self.pixel_heads = nn.ModuleList(
            Synapse(nn.Conv2d(sizes.width, num_classes, 1))
            for _ in range(levels + 1 if sizes.pixel_heads else 0)
        )
        self.class_readout = QueryReadout(choice.steps)
        self.mask_readout = Readout(choice.steps)
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)
        self.mask_embedding.initialise()
        if sizes.query_anchors:
            self._anchor_queries()
        self.trunk = trunk
        self.stride = trunk.stride
        # Last, so that all else starts the same without it.
        self.noise = (
            SegmentNoise(sizes.width, num_classes, sizes.denoised_queries)
            if sizes.denoised_queries
            else None
        )

    @property
    def told_segments(self) -> bool:
        """Whether it learns more if it is told the segments in training."""
        return self.noise is not None

    def forward(self, x: Tensor, targets: Sequence[Segments] | None = None) -> Segmentation:
        """Classified masks of images [B, C, H, W] or event frames [B, T, C, H, W].

        Args:
            x: The input.
            targets: B images' segments, of which denoised queries are made in training.
        """
        features, memories = self.pixel_decoder(self.trunk.stage_maps(x))
        values = [m + level(m) for m, level in zip(memories, self.levels, strict=False)]
        keys = [value + self.position(value) for value in values]
        query = self.query_feature(memories[0])
        location = self.query_position(memories[0])
        queries = [query]
        for index, layer in enumerate(self.decoder):
            source = index % len(values)
            mask = self._visible(query, features, keys[source]) if self.masked else None
            query = layer(query, location, keys[source], values[source], mask)
            queries.append(query)
        if not self.training:
            return self._segment(self.mask_embedding(query), features)
        outputs = self._supervised(queries, features)
        maps = (*memories[: len(values)], features)
        pixels = tuple(
            self.mask_readout(head(m)) for head, m in zip(self.pixel_heads, maps, strict=False)
        )
        denoised = None if targets is None else self._denoise(targets, features, keys, values)
        return replace(outputs, pixel_logits=pixels, denoised=denoised)

    def _denoise(
        self,
        targets: Sequence[Segments],
        features: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
    ) -> DenoisedSegments | None:
        """What becomes of noised segments; running statistics are those of the other queries."""
        if self.noise is None:
            return None
        noised = self.noise(targets)
        seen = [self.noise.visible(noised.masks, key) for key in keys]
        repeats = (self.steps, 1, 1, 1)
        query = noised.queries.repeat(repeats)
        location = self.noise.located(seen[0], keys[0]).repeat(repeats)
        queries = []
        with kept_statistics((self.decoder, self.mask_embedding)):
            for index, layer in enumerate(self.decoder):
                source = index % len(keys)
                mask = seen[source].repeat(repeats[:3])
                query = layer(query, location, keys[source], values[source], mask)
                queries.append(query)
            last = self._supervised(queries, features)
        outputs = (*last.auxiliary, replace(last, auxiliary=()))
        return DenoisedSegments(outputs, noised.segments)

    @property
    def masked(self) -> bool:
        """Whether a query only sees the pixels of its last mask."""
        return self.sizes.masked_attention

    def _segment(self, outputs: QueryOutputs, features: Tensor) -> Segmentation:
        return Segmentation(
            self.class_readout(outputs.classes),
            self.mask_readout(self.mask_product(outputs.embeddings, features)),
        )

    def _supervised(self, queries: list[Tensor], features: Tensor) -> Segmentation:
        """All layers' queries at once, so that a normalisation sees them together."""
        steps = self.steps
        stacked = torch.stack([q.unflatten(0, (steps, -1)) for q in queries], 1)
        outputs = self.mask_embedding(stacked.flatten(0, 2))
        layers = [
            self._segment(
                QueryOutputs(
                    *(x.unflatten(0, stacked.shape[:3])[:, i].flatten(0, 1) for x in outputs)
                ),
                features,
            )
            for i in range(len(queries))
        ]
        last = layers[-1]
        return Segmentation(last.class_logits, last.mask_logits, tuple(layers[:-1]))

    @torch.no_grad()
    def _visible(self, query: Tensor, features: Tensor, memory: Tensor) -> Tensor:
        """Pixels [T*B, Q, H * W] of a memory inside each query's mask; all where it is empty.

        Running statistics are put back: those of all layers together count, once per step.
        """
        statistics = [buffer.clone() for buffer in self.mask_embedding.buffers()]
        masks = self.mask_product(self.mask_embedding(query).embeddings, features)
        for buffer, before in zip(self.mask_embedding.buffers(), statistics, strict=True):
            buffer.copy_(before)
        masks = bilinear_resize(masks, (memory.shape[-2], memory.shape[-1])).flatten(2)
        visible = (masks > 0).to(query.dtype)
        return torch.where(visible.any(-1, keepdim=True), visible, torch.ones_like(visible))

    def no_weight_decay(self) -> set[str]:
        """Parameters without weight decay: the embeddings of queries and levels."""
        return {
            name
            for name, _ in self.named_parameters()
            if name.split(".")[0] in ("query_feature", "query_position", "levels", "noise")
        }

    def stages(self) -> list[nn.Module]:
        """The trunk's blocks, the pixel decoder, the decoder's layers and the mask embedding."""
        return [
            *trunk_layers(self.trunk.trunk),
            self.pixel_decoder,
            *self.decoder,
            self.mask_embedding,
        ]

    @torch.no_grad()
    def initialise(self, norm_gain: float = 1.0) -> None:
        """He weights; deformable attention starts at offsets of half a pixel and open weights."""
        super().initialise(norm_gain)
        for module in self.modules():
            if isinstance(module, SpikeDrivenDeformableAttention):
                for synapse, name, value in (
                    (module.offset, "norm.weight", 0.5),
                    (module.weight, "norm.bias", norm_gain),
                ):
                    nn.init.constant_(synapse.get_parameter(name), value)

    @torch.no_grad()
    def _anchor_queries(self) -> None:
        """Gives query n the position of cell n of a grid with about as many rows as columns."""
        positions = self.query_position.weight
        rows = math.isqrt(positions.shape[-1])
        columns = -(-positions.shape[-1] // rows)
        grid = self.position(positions.new_zeros(1, 1, rows, columns)).flatten(2)
        positions.copy_(grid[:, :, : positions.shape[-1]].unsqueeze(2))


def _resolve(sizes: Spike2FormerSizes, neurons: HeadNeurons) -> Spike2FormerSizes:
    """Replaces every None by the number that suits the neurons."""
    gain = sizes.norm_gain or max(1.0, neurons.trunk.probe().levels / 4)

    def scale(neuron: NeuronBuilder) -> float:
        if not sizes.attention_mean:
            return float(sizes.width**-0.5)
        head_dim = sizes.width // sizes.heads
        if isinstance(neuron, NeuronChoice):
            return mean_attention_scale(head_dim, neuron, gain)
        # Outputs of norm 1, and half a unit of current lies between two counts of a sigmoid.
        return float(0.5 / (head_dim * sizes.width**-1.5))

    own = sizes.attention_scale
    return replace(
        sizes,
        norm_gain=gain,
        attention_scale=own or scale(neurons.head),
        cross_attention_scale=sizes.cross_attention_scale or own or scale(neurons.cross),
    )


def _build(sizes: Spike2FormerSizes, **options: Any) -> Spike2Former:
    official = options.pop("official", False)
    free = MULTIPLICATION_FREE if options.pop("multiplication_free", False) else {}
    ablation = options.pop("ablation", "baseline")
    if ablation not in ABLATIONS:
        raise UserError(f"no ablation {ablation!r}; pass one of {', '.join(ABLATIONS)}")
    changed = take_head_sizes(sizes, options)
    neuron, levels = options.pop("neuron", None), options.pop("levels", None)
    if official:
        sizes = replace(sizes, **OFFICIAL, trunk_options={"attention_scale": "head_dim"})
        levels = levels or 8
    sizes = replace(sizes, **{**free, **ABLATIONS[ablation], **changed})
    neurons = choose_neurons(
        sizes.normalisation,
        neuron,
        options.pop("steps", 1),
        levels,
        usual="spike2former" if official else "ni_lif",
    )
    return Spike2Former(sizes, neurons, **options)


@register_family
def spike2former(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else those of the paper."""
    return _build(Spike2FormerSizes(), **options)


register_variants(
    _build,
    {
        # For 96-240 px images and 2 CPU cores.
        "spike2former_nano": Spike2FormerSizes(
            trunk="metaspikformer_nano",
            width=64,
            heads=4,
            queries=20,
            encoder_layers=1,
            encoder_hidden=128,
            groups=4,
            decoder_layers=2,
            decoder_hidden=128,
        ),
        # For 96-240 px images.
        "spike2former_tiny": Spike2FormerSizes(
            trunk="metaspikformer_tiny",
            width=96,
            queries=50,
            encoder_layers=2,
            encoder_hidden=256,
            groups=8,
            decoder_layers=3,
            decoder_hidden=256,
        ),
        # The paper's 34 M parameters on Meta-SpikeFormer 15M, 512 px.
        "spike2former_15m": Spike2FormerSizes(trunk="metaspikformer_15m"),
        # The same head on Meta-SpikeFormer 31M.
        "spike2former_31m": Spike2FormerSizes(trunk="metaspikformer_31m"),
        # The same head on Meta-SpikeFormer 55M.
        "spike2former_55m": Spike2FormerSizes(trunk="metaspikformer_55m"),
    },
)
