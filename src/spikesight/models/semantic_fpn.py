"""Semantic FPN, the segmenter of QSD-Transformer (ICLR 2025, table 3 and appendix G.3).

The network is that of `spike_fpn`: Semantic FPN (Kirillov et al., 2019) with a neuron before each
convolution, at the strides that Meta-SpikeFormer has (2, 4, 8 and 16). What sets it apart from
SDT-V2's, by the paper and the released code: pyramid and head have 128 channels at every size,
where SDT-V2 gives the pyramid of its 55M 256; every convolution of the pyramid is normalised; and
all that is added to the trunk starts by Xavier's rule. The released pyramid repeats coarse pixels
on its way down where this one interpolates, and another released one, for detection, has neurons
that count to 1 in evaluation and to 4 in training, where these are the same in both.
"""

from __future__ import annotations

from spikesight.models.spike_fpn import SpikeFPNSizes, build
from spikesight.models.variants import register_variants

register_variants(
    build,
    {
        # For 96-240 px images and 2 CPU cores.
        "semantic_fpn_nano": SpikeFPNSizes(
            "metaspikformer_nano", width=32, head_width=32, start="xavier"
        ),
        # QSD-Transformer's "SD-Transformer v2-T" on ADE20K, 512 px.
        "semantic_fpn_15m": SpikeFPNSizes("metaspikformer_15m", start="xavier"),
        # Between the two that the paper reports, 512 px.
        "semantic_fpn_31m": SpikeFPNSizes("metaspikformer_31m", start="xavier"),
        # QSD-Transformer's "SD-Transformer v2-M" on ADE20K, 512 px.
        "semantic_fpn_55m": SpikeFPNSizes("metaspikformer_55m", start="xavier"),
    },
)
