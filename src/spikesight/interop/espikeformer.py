"""Checkpoints of BICLab/Spike-Driven-Transformer-V3 (E-SpikeFormer)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from spikesight.attention.e_sdsa import EfficientSpikeDrivenSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Positive, Steps, Width
from spikesight.interop import block_names
from spikesight.interop.filling import (
    Names,
    StateDict,
    block_indices,
    load_tensors,
    part_of,
    rename,
    variant_of,
    within,
    without_wrapper,
)
from spikesight.interop.official_layouts import OfficialBlock, channels_first
from spikesight.models.espikeformer import ESpikeFormerSizes, Head
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.registry import create_model

_STAGES = (
    ("downsample1_1", ("ConvBlock1_1",)),
    ("downsample1_2", ("ConvBlock1_2",)),
    ("downsample2", ("ConvBlock2_1", "ConvBlock2_2")),
    ("downsample3", ("block3",)),
    ("downsample4", ("block4",)),
)
_STRIDES = (2, 2, 2, 2, 1)
_TOLD = (
    *("widths", "depths", "strides", "stem_kernel", "heads", "mlp_ratio", "conv_ratio"),
    *("separable", "separable_ratio", "separable_kernel", "mixer", "projection", "value_ratio"),
)

_SEPARABLE = block_names.conv_norms(
    {"pwconv1": "expand", "dwconv": "depthwise", "pwconv2": "project"}
)
_POINTWISE = {"0": "conv", "1": "norm"}
_REP_CONV = {
    "0.conv1.0": "expand",
    "0.conv1.1": "inner_norm",
    "0.conv2.0": "project",
    "0.conv2.1": "norm",
    "1": "outer_norm",
}


def load_espikeformer(
    state_dict: StateDict,
    *,
    num_heads: Width = 8,
    steps: Steps = 1,
    neuron: str | None = None,
    levels: Levels | None = None,
    attention_scale: Positive | None = None,
    head: Head | None = None,
) -> nn.Module:
    """Builds the model, or the attention, that an official state dict belongs to.

    Args:
        state_dict: Official names to tensors, of a base or of a large network.
        num_heads: Attention heads.
        steps: Time steps T; the authors have one.
        neuron: Neurons; the authors' of that network if omitted.
        levels: Largest count D; the authors' 4 if omitted.
        attention_scale: Factor of the attention product; the authors' if omitted.
        head: Of a large network with two heads: "both" as the authors evaluate it (the default),
            "counts" for head_kd alone, which is spike-driven, or "currents" for the other.
    """
    state = without_wrapper(state_dict)
    projection = _projection(state)
    large = projection == "rep_conv"
    choice = NeuronChoice.resolve(
        neuron or ("espikeformer_large" if large else "espikeformer"), steps, levels
    )
    if "head.weight" in state:
        state, head = _with_heads(state, head)
        model = _model(state, choice, num_heads, attention_scale, head)
    else:
        model = _attention(state, choice, num_heads, attention_scale)
    renamed = rename(state, tensor_names(state))
    load_tensors(getattr(model, "part", model), renamed, "E-SpikeFormer")
    return model.eval()


def tensor_names(state: StateDict) -> Names:
    """How the tensors of an official model, or of its attention, are called here."""
    if "head_kd.weight" in state:
        return _trunk_names(state) | {"head": "head_of_currents.linear", "head_kd": "head.linear"}
    if "head.weight" in state:
        return _trunk_names(state) | {"head": "head.linear"}
    return _attention_names(state)


def _projection(state: StateDict) -> str:
    return "rep_conv" if any("q_conv.0.conv1." in name for name in state) else "pointwise"


def _with_heads(state: dict[str, Tensor], head: Head | None) -> tuple[dict[str, Tensor], Head]:
    """The tensors of the heads that are asked for, and which ones these are."""
    distilled = "head_kd.weight" in state
    large = "downsample4.encode_conv.weight" not in state
    there: Head = "both" if distilled else "currents" if large else "counts"
    if head in (None, there):
        return state, there
    if not distilled:
        raise UserError(
            f"head is {head!r} and the checkpoint has no head_kd, but one head of {there}; leave "
            "head out"
        )
    kept = "head_kd." if head == "counts" else "head."
    single = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(("head.", "head_kd.")) or name.startswith(kept)
    }
    return rename(single, {"head_kd": "head"}), head or there


def _model(
    state: StateDict, choice: NeuronChoice, heads: int, scale: float | None, head: Head
) -> nn.Module:
    """A whole model, not yet filled."""
    sizes = {**_sizes(state), "heads": heads}
    usual = 0.125 if sizes["projection"] == "rep_conv" else "head_dim"
    sizes |= {"attention_scale": scale or usual, "head": head}
    checked = vars(ESpikeFormerSizes(**sizes))
    model: nn.Module = create_model(
        variant_of("espikeformer", checked, _TOLD),
        num_classes=len(state["head.weight"]),
        in_channels=state["downsample1_1.encode_conv.weight"].shape[1],
        steps=choice.steps,
        levels=choice.levels,
        neuron=choice.name,
        **checked,
    )
    return model


def _stages(state: StateDict) -> list[tuple[str, list[str]]]:
    """Down-sampling and blocks of the stages that there are."""
    found = []
    for position, (down, groups) in enumerate(_STAGES):
        if f"{down}.encode_conv.weight" not in state:
            if position == len(_STAGES) - 1:
                break
            raise UserError(f"the state dict is not E-SpikeFormer's: {down} is missing")
        blocks = [f"{group}.{i}" for group in groups for i in block_indices(state, group)]
        found.append((down, blocks))
    return found


def _sizes(state: StateDict) -> dict[str, Any]:
    """What the tensors tell of the sizes."""
    stages = _stages(state)
    conv, block = "ConvBlock1_1.0.", "block3.0."
    separable = f"{conv}Conv.pwconv1.0.weight" in state
    pair = state[f"{conv}conv1.weight" if separable else f"{conv}conv1.0.0.weight"]
    mlp, query = state[f"{block}mlp.fc1_conv.weight"], part_of(state, f"{block}attn.q_conv.")
    value = part_of(state, f"{block}attn.v_conv.")
    sizes: dict[str, Any] = {
        "widths": tuple(len(state[f"{down}.encode_conv.weight"]) for down, _ in stages),
        "depths": tuple(len(blocks) for _, blocks in stages),
        "strides": _STRIDES[: len(stages)],
        "stem_kernel": state["downsample1_1.encode_conv.weight"].shape[-1],
        "conv_ratio": pair.shape[0] // pair.shape[1],
        "separable": separable,
        "mlp_ratio": mlp.shape[0] // mlp.shape[1],
        "projection": _projection(state),
        "value_ratio": len(value["1.weight"]) // len(query["1.weight"]),
        "layer_scale": 1e-6 if f"{block}layer_scale1" in state else None,
        "mixer": "none",
    }
    if separable:
        expand = state[f"{conv}Conv.pwconv1.0.weight"]
        sizes["separable_ratio"] = expand.shape[0] // expand.shape[1]
        sizes["separable_kernel"] = state[f"{conv}Conv.dwconv.0.weight"].shape[-1]
    if f"{block}conv.pwconv1.0.weight" in state:
        sizes["mixer"] = "separable"
    elif f"{block}rep_conv.conv1.0.weight" in state:
        sizes["mixer"] = "rep_conv"
    return sizes


def _trunk_names(state: StateDict) -> dict[str, str]:
    separable = "ConvBlock1_1.0.Conv.pwconv1.0.weight" in state
    pair = (
        {"conv1": "conv", "bn1": "norm", "conv2": "conv", "bn2": "norm"}
        if separable
        else {"conv1.0.0": "conv", "conv1.0.1": "norm", "conv2.0.0": "conv", "conv2.0.1": "norm"}
    )
    conv_block = {
        **within("Conv", "separable", _SEPARABLE),
        **{
            theirs: f"pair.{'expand' if '1' in theirs.split('.')[0] else 'project'}.{ours}"
            for theirs, ours in pair.items()
        },
    }
    transformer_block = {
        **within("conv", "mixer", _SEPARABLE),
        **within("rep_conv", "mixer.1", {n.removeprefix("0."): o for n, o in _REP_CONV.items()}),
        **within("attn", "attention", _attention_names(state)),
        **within("mlp", "mlp", block_names.MLP),
        "layer_scale1": "attention_scale.0.factor",
        "layer_scale2": "mlp_scale.0.factor",
    }
    names: dict[str, str] = {}
    for stage, (down, blocks) in enumerate(_stages(state)):
        names |= within(down, f"trunk.{stage}.0", block_names.DOWN_SAMPLING)
        for position, official in enumerate(blocks, start=1):
            block = conv_block if stage < 3 else transformer_block
            names |= within(official, f"trunk.{stage}.{position}", block)
    return names


def _attention_names(state: StateDict) -> dict[str, str]:
    one = _REP_CONV if _projection(state) == "rep_conv" else _POINTWISE
    return {
        f"{short}_conv.{theirs}": f"{name}.{ours}"
        for short, name in block_names.PROJECTIONS
        for theirs, ours in one.items()
    }


def _attention(
    state: StateDict, choice: NeuronChoice, heads: int, scale: float | None
) -> nn.Module:
    """Attention alone, not yet filled."""
    if "q_conv.1.weight" not in state:
        raise UserError(
            "the state dict is not E-SpikeFormer's: neither a model's parameters nor those of its "
            f"attention are in it (it has {', '.join(list(state)[:5])}, ...)"
        )
    projection = _projection(state)
    channels, values = (len(state[f"{x}_conv.1.weight"]) for x in ("q", "v"))
    usual = 0.125 if projection == "rep_conv" else 2 * (channels // heads) ** -0.5
    attention = EfficientSpikeDrivenSelfAttention(
        channels,
        heads,
        scale or usual,
        choice.build,
        choice.build_attention,
        value_ratio=values // channels,
        projection="rep_conv" if projection == "rep_conv" else "pointwise",
    )
    layout = _tokens if projection == "rep_conv" else channels_first
    return OfficialBlock(attention, layout)


def _tokens(part: nn.Module, x: Tensor) -> Tensor:
    """Takes tokens [T, B, C, N]."""
    output: Tensor = part(x.flatten(0, 1)[..., None])
    return output.reshape(x.shape)
