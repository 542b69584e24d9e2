"""Spikformer V2 (arXiv 2401.02020): Spikformer with a spiking convolutional stem.

The authors never released V2's code. Published are: a spiking convolutional stem (SCS) in the place
of V1's patch splitting, sizes 8-384, 8-512 and 16-768 and their parameters (29.11 M, 51.55 M,
172 M), and spiking self-attention as in V1. Fitted to those counts, which it meets to the last
parameter, is the stem: four stages at C / 8, C / 4, C / 2 and C, each a 2x2 convolution of stride 2
and a residual pair of 3x3 convolutions of expansion 4, all without bias; no relative position, no
learned position, no LayerNorm; heads C / 64; additions after the neuron as in V1. Where neurons
stand within the stem is a choice, which no parameter tells.
"""

from __future__ import annotations

from dataclasses import replace

from spikesight.models.spikformer import SpikformerSizes, build
from spikesight.models.variants import register_variants

_SMALL = SpikformerSizes(
    64, 1, 4, strides=(2, 2), stem="scs", expansion=2, attention_scale=None, norm_gain=None
)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores: two stages of stem, expansion 2.
        "spikformer_v2_nano": replace(_SMALL, width=64, depth=1),
        # For 32-96 px images: two stages of stem, expansion 2.
        "spikformer_v2_tiny": replace(_SMALL, width=128, depth=2),
        # Spikformer V2-8-384, 224 px.
        "spikformer_v2_8_384": SpikformerSizes(384, 8, 6, stem="scs"),
        # Spikformer V2-8-512, 224 px.
        "spikformer_v2_8_512": SpikformerSizes(512, 8, 8, stem="scs"),
        # Spikformer V2-8-768, 224 px.
        "spikformer_v2_8_768": SpikformerSizes(768, 8, 12, stem="scs"),
        # Spikformer V2-16-768, 224 px; published at T = 1.
        "spikformer_v2_16_768": SpikformerSizes(768, 16, 12, stem="scs"),
    },
)
