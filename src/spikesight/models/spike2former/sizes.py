"""Sizes and options of Spike2Former, and the rows of the paper's ablations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from spikesight.attention.sdca import Projection
from spikesight.attention.sdda import Spiked
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Kernel, Layers, Width
from spikesight.options import AS_ARGUMENT, check_options

Encoder = Literal["deformable", "vanilla", "none"]
PyramidKernel = Literal["depthwise", "dense"]
Order = Literal["cross_first", "self_first"]
MaskEmbeddingKind = Literal[
    "me_shortcut",
    "me_shortcut_over_queries",
    "me_shortcut_without_conv",
    "membrane_shortcut",
    "vanilla",
]
QueryGate = Literal["neuron", "sigmoid"]
Upsampling = Literal["bilinear", "shift"]
MaskFeatures = Literal["current", "spikes"]
Normalisation = Literal["levels", "none", "cross_attention", "constant_8", "sigmoid_l2"]


@dataclass(frozen=True)
class Spike2FormerSizes:
    """Sizes and options of a Spike2Former; a variant of the family is one of these.

    Attributes:
        trunk: Name of the registered model whose maps are read.
        trunk_options: Further arguments of the trunk; None for those with which it starts alive
            on street photos.
        width: Channels C of pixel decoder and queries.
        heads: Attention heads of the decoder; must divide `width`.
        queries: Number of queries Q.
        encoder: "deformable" (SDTE), "vanilla" (attention between all pixels) or "none".
        encoder_layers: Number of its layers.
        encoder_hidden: Hidden width of its MLPs.
        encoder_conv: Whether an SDTE layer starts with an ESC.
        separable_kernel: Side of that ESC's depthwise kernel.
        groups: Groups of the deformable attention; must divide `width`.
        deformable_kernel: Side of the deformable attention's depthwise kernels.
        deformable_separable: Whether its value and output pass an ESC.
        deformable_depthwise: Whether a depthwise convolution precedes its positions and weights.
        spiked: Which of its "weights" or sampled "query" are spikes.
        multi_scale: Whether the encoder's layers run on the three coarsest maps.
        pixel_positions: Whether the encoder and every level of the pyramid are told where a pixel
            is, by the sine position that the keys have. Mask2Former's encoder is, Spike2Former's
            is not. Without it, two objects that look alike differ to the masks only in their
            distance from the border.
        fpn: Kernels of the feature pyramid: "depthwise", or "dense" (vanilla SpikeFPN).
        pixel_heads: Whether the maps that the queries read, and the mask features, classify each
            pixel in training, so that a loss per pixel reaches them directly; nothing of it is
            left in evaluation.
        query_anchors: Whether the queries' positions start as those of a grid over the map, so
            that each one begins with a place of its own.
        denoised_queries: Further queries in training, which begin as the segments that are there,
            noised, see the pixels of their masks alone, and learn to become what they were; they
            never meet the others, whose decoder they teach. Nothing of them is left in evaluation.
        decoder_layers: Number of decoder layers.
        decoder_hidden: Hidden width of the decoder's MLPs.
        order: "cross_first", or "self_first" (the authors' panoptic code).
        masked_attention: Whether a query only sees the pixels of its last mask (Mask2Former).
        projection: Of the decoder's attention: "linear" with norm, or "rep_conv".
        mask_embedding: "me_shortcut" (eq. 14 with a convolution over channels), its official form
            with one over queries, its form without convolution, the plain "membrane_shortcut",
            or "vanilla".
        normalisation: What an integer neuron's count is divided by: "levels" (NI-LIF), "none"
            (I-LIF), "cross_attention" (levels there, none elsewhere), "constant_8", or
            "sigmoid_l2"; None when `neuron` says it.
        layer_scale: Initial layer scale of the encoder's branches (official 1e-6).
        attention_scale: Factor of the decoder's attention products; None for one with which their
            neurons start neither silent nor saturated (official width^-0.5).
        cross_attention_scale: The same of its cross attention; None for the like.
        attention_mean: Whether attention sums over keys are means, so that they do not grow with
            the image.
        mlp_norm: Whether the mask embedding's MLP has normalisations.
        query_gate: What reads the queries: a "neuron", or a neuron behind a "sigmoid" (official).
        biased: Whether convolutions before a normalisation have biases (official).
        official_layout: Whether the memory-layout slips of the authors' code are reproduced.
        norm_gain: Initial gain of the normalisations; None for D / 4, at least 1.
        upsampling: "bilinear", or "shift": the same maps by shifts and additions, doubling alone.
        offset_bits: Bits after the binary point of the deformable attention's offsets in pixels,
            rounded in training too; None for real-valued ones. With 2, shifts and additions
            interpolate.
        mask_features: What a mask is the product of: the spikes of its embedding with a
            real-valued "current", or with "spikes", half of whose channels inhibit.
    """

    trunk: str = "metaspikformer_15m"
    trunk_options: Mapping[str, Any] | None = None
    width: Width = 256
    heads: Width = 8
    queries: Width = 100
    encoder: Encoder = "deformable"
    encoder_layers: Depth = 6
    encoder_hidden: Width = 1024
    encoder_conv: bool = True
    separable_kernel: Kernel = 3
    groups: Width = 32
    deformable_kernel: Kernel = 5
    deformable_separable: bool = True
    deformable_depthwise: bool = True
    spiked: Spiked = "weights"
    multi_scale: bool = False
    pixel_positions: bool = False
    fpn: PyramidKernel = "depthwise"
    pixel_heads: bool = False
    query_anchors: bool = False
    denoised_queries: Annotated[int, Meta(ge=0, le=1024)] = 0
    decoder_layers: Layers = 6
    decoder_hidden: Width = 2048
    order: Order = "cross_first"
    masked_attention: bool = False
    projection: Projection = "linear"
    mask_embedding: MaskEmbeddingKind = "me_shortcut"
    normalisation: Normalisation | None = None
    layer_scale: float = 0.5
    attention_scale: float | None = None
    cross_attention_scale: float | None = None
    attention_mean: bool = True
    mlp_norm: bool = True
    query_gate: QueryGate = "neuron"
    biased: bool = False
    official_layout: bool = False
    norm_gain: float | None = None
    upsampling: Upsampling = "bilinear"
    offset_bits: Annotated[int, Meta(ge=0, le=16)] | None = None
    mask_features: MaskFeatures = "current"

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)
        for name in ("heads", "groups"):
            if self.width % getattr(self, name):
                raise UserError(f"{name}={getattr(self, name)} must divide width={self.width}")
        if self.width % 4:
            raise UserError(f"width={self.width} must be a multiple of 4 for the positions")
        if self.denoised_queries and self.mask_embedding == "me_shortcut_over_queries":
            raise UserError(
                f"denoised_queries={self.denoised_queries} are no queries that the ME-Shortcut "
                'over queries mixes; pass mask_embedding="me_shortcut", or leave them out'
            )


Sizes = Spike2FormerSizes
"""Its name in version 0.1."""


OFFICIAL: dict[str, Any] = {
    "mask_embedding": "me_shortcut_over_queries",
    "layer_scale": 1e-6,
    "attention_mean": False,
    "mlp_norm": False,
    "query_gate": "sigmoid",
    "biased": True,
    "official_layout": True,
    "norm_gain": 1.0,
}
"""What differs between the authors' code and the paper's intent."""

MULTIPLICATION_FREE: dict[str, Any] = {
    "upsampling": "shift",
    "offset_bits": 2,
    "mask_features": "spikes",
}
"""With which nothing behind the first layer multiplies (`multiplication_free=True`)."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "spiking_mask2former": {
        "encoder_conv": False,
        "deformable_separable": False,
        "deformable_depthwise": False,
        "spiked": "query",
        "multi_scale": True,
        "fpn": "dense",
        "masked_attention": True,
        "mask_embedding": "vanilla",
        "normalisation": "none",
    },
    "vanilla_mask_embedding": {"mask_embedding": "vanilla"},
    "me_shortcut_without_conv": {"mask_embedding": "me_shortcut_without_conv"},
    "membrane_shortcut": {"mask_embedding": "membrane_shortcut"},
    "without_sdte": {"encoder": "none"},
    "without_esc": {"deformable_separable": False},
    "without_dwconv": {"deformable_depthwise": False},
    "spiking_query": {"spiked": "query"},
    "multi_scale_query": {"multi_scale": True},
    "vanilla_encoder": {"encoder": "vanilla"},
    "i_lif": {"normalisation": "none"},
    "norm_in_cross_attention": {"normalisation": "cross_attention"},
    "constant_8": {"normalisation": "constant_8"},
    "sigmoid_l2": {"normalisation": "sigmoid_l2"},
    "masked_attention": {"masked_attention": True},
    "rep_conv": {"projection": "rep_conv"},
    "vanilla_spike_fpn": {"fpn": "dense"},
    "panoptic": {"queries": 200, "decoder_layers": 9, "order": "self_first"},
}
"""Options of every row of the paper's table 3 and of its appendix, by name.

T x D (appendix table 3) are `steps` and `levels`. What the paper names but no released code shows
("spiking_mask2former", "multi_scale_query", "vanilla_encoder", "sigmoid_l2") is a reconstruction.
"""
