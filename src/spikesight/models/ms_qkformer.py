"""MS-QKFormer: QKFormer with membrane shortcuts, from the repository of Max-Former's authors.

Every neuron stands before its synapse and a last one before the classifier, so that synapses read
spikes where QKFormer's read sums of them, and no sample reads another. It is made of Max-Former's
parts, with token attention in the early stages and without the maxima of the shortcuts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from spikesight.models.maxformer import MaxFormerSizes, build, imagenet_sizes
from spikesight.models.variants import register_variants
from spikesight.registry import register_family

_CIFAR = MaxFormerSizes(
    widths=(96, 192, 384),
    depths=(1, 1, 2),
    mixers=("token_attention", "token_attention", "attention"),
    heads=8,
    stem="flat",
    pools="second",
)


def _imagenet_sizes(width: int) -> MaxFormerSizes:
    sizes = imagenet_sizes(width)
    return replace(sizes, mixers=_CIFAR.mixers, stem="pooled", pools="first")


@register_family
def ms_qkformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else MS-QKFormer-10-384's."""
    return build(_imagenet_sizes(384), **options)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores; the form for CIFAR.
        "ms_qkformer_nano": replace(
            _CIFAR,
            widths=(16, 32, 96),
            depths=(1, 1, 1),
            heads=4,
            attention_scale=None,
            norm_gain=None,
        ),
        # For event frames of 128 px: pass in_channels=2, steps=16.
        "ms_qkformer_2_256": replace(
            _CIFAR,
            widths=(128, 256),
            depths=(1, 1),
            mixers=("token_attention", "attention"),
            heads=16,
            stem="events",
            mlp_ratio=1,
        ),
        # For CIFAR-10 and CIFAR-100, 32 px.
        "ms_qkformer_4_384": _CIFAR,
        # MS-QKFormer-10-384, 224 px.
        "ms_qkformer_10_384": _imagenet_sizes(384),
        # MS-QKFormer-10-512, 224 px.
        "ms_qkformer_10_512": _imagenet_sizes(512),
        # MS-QKFormer-10-768, 224 px.
        "ms_qkformer_10_768": _imagenet_sizes(768),
    },
)
