"""What the blocks of the authors' models call their parts, and what those are called here."""

from __future__ import annotations

from spikesight.interop.filling import within


def conv_norms(parts: dict[str, str]) -> dict[str, str]:
    """Convolutions that each stand before a normalisation, in one nn.Sequential."""
    return {
        f"{theirs}.{place}": f"{ours}.{child}"
        for theirs, ours in parts.items()
        for place, child in (("0", "conv"), ("1", "norm"))
    }


PROJECTIONS = (("q", "query"), ("k", "key"), ("v", "value"), ("proj", "project"))

# Meta-SpikeFormer and QSD-Transformer.
BORDER_NORM = {"bn": "norm"}
REP_CONV = {
    "body.0": "reduce",
    "body.1.bn": "border.norm",
    "body.2.0": "depthwise",
    "body.2.1": "expand",
    "body.2.2": "inner_norm",
}
SELF_ATTENTION = {
    f"{short}_conv.{theirs}": f"{name}.{ours}"
    for short, name in PROJECTIONS
    for theirs, ours in (*((f"0.{t}", o) for t, o in REP_CONV.items()), ("1", "outer_norm"))
}
SEPARABLE = {
    "pwconv1": "expand.conv",
    "bn1": "expand.norm",
    "dwconv": "project.0.depthwise",
    "pwconv2": "project.0.pointwise",
    "bn2": "project.0.norm",
}
DOWN_SAMPLING = {"encode_conv": "conv.conv", "encode_bn": "conv.norm"}
MLP = {
    "fc1_conv": "expand.conv",
    "fc1_bn": "expand.norm",
    "fc2_conv": "project.conv",
    "fc2_bn": "project.norm",
}
TRANSFORMER_BLOCK = {
    **within("attn", "attention", SELF_ATTENTION),
    **within("mlp", "mlp", MLP),
    "layer_scale1": "attention_scale.0.factor",
    "layer_scale2": "mlp_scale.0.factor",
}
CONV_BLOCK = {
    **within("Conv", "separable", SEPARABLE),
    "conv1": "mixer.expand.conv",
    "bn1": "mixer.expand.norm",
    "conv2": "mixer.project.conv",
    "bn2": "mixer.project.norm",
}

# Spike2Former, whose trunk is made of the above.
ESC = conv_norms({"pwconv1": "expand", "dwconv": "depthwise", "pwconv2": "project"})
SDDA = {
    **within("input_proj", "value", ESC),
    **within("output_proj", "output", ESC),
    **conv_norms({"dw_conv": "context.synapse", "offset": "offset", "mask": "weight"}),
}
SDTE_LAYER = {
    "gamma1": "conv_scale.0.factor",
    "gamma2": "attention_scale.0.factor",
    "gamma3": "mlp_scale.0.factor",
    **within("Conv", "conv", ESC),
    **within("dcn", "attention", SDDA),
    **within("ffn", "mlp", MLP),
}
CROSS_ATTENTION = conv_norms(
    {
        f"attn.{short}_conv": name
        for short, name in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "project"))
    }
)
QUERY_MLP = {
    "fc1": "expand.conv",
    "bn1": "expand.norm",
    "fc2": "project.conv",
    "bn2": "project.norm",
}
DECODER_LAYER = {
    **within("cross_attn", "cross_attention", CROSS_ATTENTION),
    **within("self_attn", "self_attention", CROSS_ATTENTION),
    **within("ffn", "mlp", QUERY_MLP),
}
MASK_MLP = {"fc1": "hidden1.0", "fc2": "hidden2.0", "fc_out": "output.0"}
MASK_EMBEDDING = {
    "w": "shortcut_scale.0.factor",
    "shortcut_conv": "shortcut",
    "cls_embed": "classes.0",
    **within("mask_embed", "mlp", MASK_MLP),
}


def pixel_decoder(laterals: int, layers: int) -> dict[str, str]:
    """Names of a pixel decoder with that many lateral convolutions and encoder layers."""
    names = {"encoder_in_proj": "encoder_inputs.0", "encoder_out_proj": "encoder_output"}
    for i in range(laterals):
        names[f"lateral_convs.{i}"] = f"laterals.{laterals - 1 - i}"
        names[f"output_convs.{i}"] = f"outputs.{laterals - 1 - i}"
    found = conv_norms({theirs: f"{ours}.synapse" for theirs, ours in names.items()})
    for i in range(layers):
        found |= within(f"encoder.layers.{i}", f"encoder.{i}", SDTE_LAYER)
    return {"mask_feature": "mask_features.0", **found}
