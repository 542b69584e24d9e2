"""Writes the published oracles anew: python -m tests.oracles.publish"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.oracles import PUBLISHED, packed, read

CASES = {
    "maxformer": (
        *("cifar_e32_h8_T3_24px", "imagenet_e64_h1_s3b1_T2_48x32"),
        *("ssa_c16_h4_T4", "ssa_dwc_c16_h4_T3"),
    ),
    "metaspikformer": (
        *("lsq_conv2d_w4", "lsq_dwconv_w4", "lsq_init", "lsq_linear_w2", "lsq_linear_w4"),
        *("lif_T4", "neurons", "qsd_attn_eval", "qsd_attn_train", "qsd_bnpad_eval"),
        *("qsd_convblock_eval", "qsd_down_first_eval", "qsd_down_s1_eval", "qsd_mlp_eval"),
        *("qsd_repconv_eval", "qsd_repconv_train", "qsd_sepconv_eval", "sdt_attn_eval"),
        *("sdt_bnpad_eval", "sdt_bnpad_train", "sdt_convblock_eval", "sdt_down_first_eval"),
        *("sdt_down_s1_eval", "sdt_mlp_eval", "sdt_repconv_eval", "sdt_repconv_train"),
        "sdt_sepconv_eval",
    ),
    "spike2former": (
        *("bb_attention", "bb_downsample", "bb_downsample_first", "bb_mlp", "bb_ms_block"),
        *("bb_repconv", "bb_sepconv", "dcnv3_core", "dec_ffn", "enc_ms_mlp"),
        *("esc_sepconv_spike", "loss_eval", "mask_mlp", "neurons", "sdca", "sdsa", "sdte_layer"),
        *("sine_pe", "pixel_decoder"),
    ),
    "espikeformer": (
        *("attention_linear_c16_h4", "large_attention_c16_h4", "large171_e8_12_16_h4", "neurons"),
    ),
    "spikformer": ("cifar10dvs_e32_h4_d1_T3",),
    "qkformer": (
        *("imagenet_e32_h2_d5_T4_48_fixed_b2", "imagenet_e32_h2_d5_T4_48_released_b1"),
        *("imagenet_e32_h2_d5_T4_48_released_b2", "ssa_c16_h4_T4_fixed_b2"),
        *("ssa_c16_h4_T4_released_b1", "ssa_c16_h4_T4_released_b2", "token_qk_c16_h4_T4"),
    ),
    "sdtv1": (
        *("attention_c16_h4_T4", "attention_dvs_c16_h2_T3"),
        *("cifar_e32_h4_d2_T4", "imagenet_e32_h2_d2_T3_64x48"),
    ),
    "spikingresformer": ("dssa_c16_h2_p2_T4", "imagenet_p8_16_24_T3_64"),
}


def without_single_precision(oracle: dict[str, Any]) -> dict[str, Any]:
    """Without the float32 outputs, to which nothing is compared."""
    return {name: value for name, value in oracle.items() if name not in ("y32", "out32")}


if __name__ == "__main__":
    total = 0
    for family, cases in CASES.items():
        (PUBLISHED / family).mkdir(exist_ok=True)
        for case in cases:
            oracle, published = read(family, case)
            assert not published
            file = PUBLISHED / family / f"{case}.npz"
            np.savez_compressed(file, **packed(without_single_precision(oracle)))
            total += file.stat().st_size
            print(f"{file.stat().st_size:>9,} {family}/{case}")
    print(f"{total:>9,}")
