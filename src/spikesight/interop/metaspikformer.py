"""Checkpoints of BICLab/Spike-Driven-Transformer-V2 (Meta-SpikeFormer)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from spikesight.attention import SpikeDrivenSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Steps, Stride, Width
from spikesight.interop.filling import load_tensors
from spikesight.models.metaspikformer import (
    ConvBlock,
    DownSampling,
    FeedForward,
    MetaSpikFormer,
    SepConv,
    Sizes,
    TransformerBlock,
)
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.synapses import BorderNorm, RepConv

StateDict = Mapping[str, Tensor]

_REP_CONV = [
    (r"body\.0\.", "reduce."),
    (r"body\.1\.bn\.", "border.norm."),
    (r"body\.2\.0\.", "depthwise."),
    (r"body\.2\.1\.", "expand."),
    (r"body\.2\.2\.", "inner_norm."),
]
_ATTENTION = [
    (rf"{short}_conv\.{place}", f"{name}.{ours}")
    for short, name in (("q", "query"), ("k", "key"), ("v", "value"), ("proj", "project"))
    for place, ours in (
        *((rf"0\.{official}", ours) for official, ours in _REP_CONV),
        (r"1\.", "outer_norm."),
    )
]
_SEPARABLE = [
    (r"pwconv1\.", "expand.conv."),
    (r"bn1\.", "expand.norm."),
    (r"dwconv\.", "project.0.depthwise."),
    (r"pwconv2\.", "project.0.pointwise."),
    (r"bn2\.", "project.0.norm."),
]
_DOWN_SAMPLING = [(r"encode_conv\.", "conv.conv."), (r"encode_bn\.", "conv.norm.")]
MLP = [
    (r"fc1_conv\.", "expand.conv."),
    (r"fc1_bn\.", "expand.norm."),
    (r"fc2_conv\.", "project.conv."),
    (r"fc2_bn\.", "project.norm."),
]
_LAYER_SCALES = [(r"1$", "attention_scale.0.factor"), (r"2$", "mlp_scale.0.factor")]
TRANSFORMER_BLOCK = [
    *((rf"attn\.{official}", f"attention.{ours}") for official, ours in _ATTENTION),
    *((rf"mlp\.{official}", f"mlp.{ours}") for official, ours in MLP),
    *((rf"layer_scale{official}", ours) for official, ours in _LAYER_SCALES),
]
_CONV_BLOCK = [
    *((rf"Conv\.{official}", f"separable.{ours}") for official, ours in _SEPARABLE),
    (r"conv1\.", "mixer.expand.conv."),
    (r"bn1\.", "mixer.expand.norm."),
    (r"conv2\.", "mixer.project.conv."),
    (r"bn2\.", "mixer.project.norm."),
]
_DOWN_SAMPLING_NAMES = (
    "downsample1_1",
    "downsample1_2",
    "downsample2",
    "downsample3",
    "downsample4",
)
_CONV_BLOCK_GROUPS = (("ConvBlock1_1",), ("ConvBlock1_2",), ("ConvBlock2_1", "ConvBlock2_2"))
_TRANSFORMER_GROUPS = ("block3", "block4")
_STEM_KERNEL = 7
_LAYER_SCALE = 1e-6
_DISTILLED = "head_kd."
_BOTH = (f"{_DISTILLED}weight", f"{_DISTILLED}bias")


def load_metaspikformer(
    state_dict: StateDict,
    *,
    num_heads: Width = 8,
    steps: Steps = 4,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: float | Literal["head_dim"] = 0.125,
    strides: tuple[int, int, int, int, int] = (2, 2, 2, 2, 1),
    stride: Stride | None = None,
) -> nn.Module:
    """Builds the model, or the block, that an official state dict belongs to.

    A distilled model has a second head, head_kd, and the authors evaluate the mean of both heads'
    logits. That is one linear map, so both become the one head that has the mean of their weights.

    Args:
        state_dict: Official names to tensors.
        num_heads: Attention heads.
        steps: Time steps T.
        neuron: Neuron of all layers.
        levels: Largest count D of integer neurons.
        attention_scale: Factor of the attention product, or "head_dim" for head_dim^-0.5.
        strides: Down-sampling of the five stages.
        stride: Stride of a lone down-sampling block; official: 2 for the 7x7 stem, else 1.

    Returns:
        The model in evaluation mode. A lone block takes official inputs [T, B, C, H, W].

    Raises:
        UserError: If a tensor is missing, left over, of another size or not finite; names it.
    """
    state = _with_one_head(
        {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    )
    choice = NeuronChoice.resolve(neuron, steps, levels)
    model, renamed = build_metaspikformer(
        state, choice, num_heads, attention_scale, strides, stride
    )
    return fill(model, renamed)


def _with_one_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Head and distillation head as their mean; the state dict itself if there is only one."""
    if not any(name.startswith(_DISTILLED) for name in state):
        return state
    single = {name: tensor for name, tensor in state.items() if not name.startswith(_DISTILLED)}
    for leaf in ("weight", "bias"):
        own, distilled = state.get(f"head.{leaf}"), state.get(f"{_DISTILLED}{leaf}")
        if own is None or distilled is None or own.shape != distilled.shape:
            raise UserError(
                f"the state dict has a head_kd whose {leaf} does not go with head.{leaf}; pass a "
                "checkpoint in which both heads have the same classes"
            )
        single[f"head.{leaf}"] = (own + distilled) / 2
    others = [name for name in state if name.startswith(_DISTILLED) and name not in _BOTH]
    return {**single, **{name: state[name] for name in others}}


def build_metaspikformer(
    state: StateDict,
    choice: NeuronChoice,
    num_heads: int,
    attention_scale: float | Literal["head_dim"],
    strides: tuple[int, int, int, int, int],
    stride: int | None,
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model, or block, of an official state dict, not yet filled, and its tensors renamed."""
    if "head.weight" in state:
        model: nn.Module = _model(state, choice, num_heads, attention_scale, strides)
        return model, rename_model(state)
    if "q_conv.0.body.0.weight" in state:
        channels = state["q_conv.0.body.0.weight"].shape[0]
        scale = (
            (channels // num_heads) ** -0.5 if attention_scale == "head_dim" else attention_scale
        )
        attention = SpikeDrivenSelfAttention(
            channels, num_heads, scale, choice.build, choice.build_attention
        )
        return attention, rename(state, _ATTENTION)
    if "attn.q_conv.0.body.0.weight" in state:
        channels = state["attn.q_conv.0.body.0.weight"].shape[0]
        sizes = Sizes(
            widths=(num_heads,) * 5,
            heads=num_heads,
            mlp_ratio=state["mlp.fc1_conv.weight"].shape[0] // channels,
            attention_scale=attention_scale,
            layer_scale=_LAYER_SCALE if "layer_scale1" in state else None,
        )
        return TransformerBlock(channels, sizes, choice, 0.0), rename(state, TRANSFORMER_BLOCK)
    if "Conv.pwconv1.weight" in state:
        channels = state["conv1.weight"].shape[1]
        block = ConvBlock(channels, _block_sizes(state, "Conv.", "conv1", num_heads), choice, 0.0)
        return block, rename(state, _CONV_BLOCK)
    if "pwconv1.weight" in state:
        channels = state["pwconv1.weight"].shape[1]
        separable = SepConv(channels, _block_sizes(state, "", None, num_heads), choice)
        return separable, rename(state, _SEPARABLE)
    if "fc1_conv.weight" in state:
        hidden, channels = state["fc1_conv.weight"].shape[:2]
        return FeedForward(channels, hidden, 1, choice, bias=True), rename(state, MLP)
    if "encode_conv.weight" in state:
        out_channels, channels, kernel, _ = state["encode_conv.weight"].shape
        first = kernel == _STEM_KERNEL
        step = stride or (2 if first else 1)
        down = DownSampling(channels, out_channels, kernel, step, None if first else choice)
        return down, rename(state, _DOWN_SAMPLING)
    if "body.0.weight" in state:
        channels, out_channels = state["body.0.weight"].shape[1], state["body.2.1.weight"].shape[0]
        return RepConv(channels, out_channels, outer_norm=False), rename(state, _REP_CONV)
    if "bn.weight" in state:
        norm = BorderNorm(state["bn.weight"].shape[0], padding=1)
        return norm, rename(state, [(r"bn\.", "norm.")])
    raise UserError(
        "the state dict is not Meta-SpikeFormer's: neither head.weight nor the parameters of "
        f"one of its blocks are in it (it has {', '.join(list(state)[:5])}, ...)"
    )


def fill(model: nn.Module, renamed: Mapping[str, Tensor]) -> nn.Module:
    """Loads renamed tensors into a model or block and puts it into evaluation mode.

    Raises:
        ValueError: If a tensor is missing, left over or of another size; names it.
    """
    load_tensors(model, renamed, "Meta-SpikeFormer")
    return (model if isinstance(model, MetaSpikFormer) else OfficialBlock(model)).eval()


class OfficialBlock(nn.Module):
    """One block that takes the official [T, B, C, H, W] beside our [T*B, C, H, W].

    Args:
        block: The block.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Runs the block on official or time-major input."""
        if x.ndim != 5:
            output: Tensor = self.block(x)
            return output
        flat: Tensor = self.block(x.flatten(0, 1))
        unflattened: Tensor = flat.unflatten(0, x.shape[:2])
        return unflattened


def rename(state: StateDict, rules: list[tuple[str, str]]) -> dict[str, Tensor]:
    """Renames tensors, each by the first rule (pattern of a name's start, what replaces it)."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            ours, count = re.subn(f"^{pattern}", replacement, name)
            if count:
                renamed[ours] = tensor
                break
        else:
            renamed[name] = tensor
    return renamed


def block_indices(state: StateDict, group: str) -> list[int]:
    """Which numbers follow a group's name, a pattern."""
    found = {int(m[1]) for name in state if (m := re.match(rf"{group}\.(\d+)\.", name))}
    return sorted(found)


def rename_model(state: StateDict) -> dict[str, Tensor]:
    """The tensors of a whole model or trunk by our names; those of no part of it keep theirs."""
    renamed: dict[str, Tensor] = {}
    taken: set[str] = set()

    def take(official: str, ours: str, rules: list[tuple[str, str]]) -> None:
        inner = {n[len(official) :]: t for n, t in state.items() if n.startswith(official)}
        taken.update(official + name for name in inner)
        renamed.update({ours + name: t for name, t in rename(inner, rules).items()})

    for stage, name in enumerate(_DOWN_SAMPLING_NAMES):
        take(f"{name}.", f"trunk.{stage}.0.", _DOWN_SAMPLING)
    for stage, groups in enumerate(_CONV_BLOCK_GROUPS):
        blocks = [f"{group}.{i}." for group in groups for i in block_indices(state, group)]
        for position, official in enumerate(blocks, start=1):
            take(official, f"trunk.{stage}.{position}.", _CONV_BLOCK)
    for stage, group in enumerate(_TRANSFORMER_GROUPS, start=3):
        for i in block_indices(state, group):
            take(f"{group}.{i}.", f"trunk.{stage}.{i + 1}.", TRANSFORMER_BLOCK)
    take("head.", "head.linear.", [])
    return {**renamed, **{name: tensor for name, tensor in state.items() if name not in taken}}


def _block_sizes(state: StateDict, separable: str, mixer: str | None, heads: int) -> Sizes:
    hidden, channels = state[f"{separable}pwconv1.weight"].shape[:2]
    conv_ratio = 4 if mixer is None else state[f"{mixer}.weight"].shape[0] // channels
    return Sizes(
        widths=(heads,) * 5,
        heads=heads,
        conv_ratio=conv_ratio,
        separable_ratio=hidden // channels,
        separable_kernel=state[f"{separable}dwconv.weight"].shape[-1],
    )


def read_sizes(
    state: StateDict,
    heads: int,
    attention_scale: float | Literal["head_dim"],
    strides: tuple[int, int, int, int, int],
) -> Sizes:
    """The sizes of a whole model or trunk.

    Raises:
        ValueError: If the state dict is not Meta-SpikeFormer's.
    """
    missing = [n for n in _DOWN_SAMPLING_NAMES if f"{n}.encode_conv.weight" not in state]
    if missing:
        raise UserError(f"the state dict is not Meta-SpikeFormer's: {missing[0]} is missing")
    stem = state["downsample1_1.encode_conv.weight"]
    widths = [state[f"{name}.encode_conv.weight"].shape[0] for name in _DOWN_SAMPLING_NAMES]
    depths = [sum(len(block_indices(state, g)) for g in groups) for groups in _CONV_BLOCK_GROUPS]
    depths += [len(block_indices(state, group)) for group in _TRANSFORMER_GROUPS]
    block = "ConvBlock1_1.0."
    return Sizes(
        widths=(widths[0], widths[1], widths[2], widths[3], widths[4]),
        depths=(depths[0], depths[1], depths[2], depths[3], depths[4]),
        strides=strides,
        stem_kernel=stem.shape[-1],
        heads=heads,
        mlp_ratio=state["block3.0.mlp.fc1_conv.weight"].shape[0] // widths[3],
        conv_ratio=state[f"{block}conv1.weight"].shape[0] // widths[0],
        separable_ratio=state[f"{block}Conv.pwconv1.weight"].shape[0] // widths[0],
        separable_kernel=state[f"{block}Conv.dwconv.weight"].shape[-1],
        attention_scale=attention_scale,
        layer_scale=_LAYER_SCALE if "block3.0.layer_scale1" in state else None,
    )


def _model(
    state: StateDict,
    choice: NeuronChoice,
    heads: int,
    attention_scale: float | Literal["head_dim"],
    strides: tuple[int, int, int, int, int],
) -> MetaSpikFormer:
    sizes = read_sizes(state, heads, attention_scale, strides)
    stem = state["downsample1_1.encode_conv.weight"]
    classes = state["head.weight"].shape[0]
    model = MetaSpikFormer(sizes, choice, num_classes=classes, in_channels=stem.shape[1])
    model.recipe = {
        "name": "metaspikformer_15m",
        "arguments": {
            **model.resolved,
            "num_classes": classes,
            "in_channels": stem.shape[1],
            "steps": choice.steps,
        },
    }
    return model
