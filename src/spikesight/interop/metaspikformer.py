"""Checkpoints of BICLab/Spike-Driven-Transformer-V2 (Meta-SpikeFormer)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Steps, Stride, Width
from spikesight.interop import block_names
from spikesight.interop.blocks import (
    AttentionScale,
    Settings,
    build_block,
    conv_sizes,
    transformer_sizes,
)
from spikesight.interop.filling import (
    Names,
    StateDict,
    block_indices,
    load_tensors,
    rename,
    variant_of,
    within,
    without_wrapper,
)
from spikesight.models.metaspikformer import MetaSpikFormerSizes
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.registry import create_model

Strides = tuple[int, int, int, int, int]

# Down-sampling and groups of blocks of the five stages.
_STAGES = (
    ("downsample1_1", ("ConvBlock1_1",)),
    ("downsample1_2", ("ConvBlock1_2",)),
    ("downsample2", ("ConvBlock2_1", "ConvBlock2_2")),
    ("downsample3", ("block3",)),
    ("downsample4", ("block4",)),
)
_TOLD = (
    *("widths", "depths", "strides", "stem_kernel", "heads", "mlp_ratio", "conv_ratio"),
    *("separable_ratio", "separable_kernel", "separable"),
)
_DISTILLED = "head_kd."


def load_metaspikformer(
    state_dict: StateDict,
    *,
    num_heads: Width = 8,
    steps: Steps = 4,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: AttentionScale = 0.125,
    strides: Strides = (2, 2, 2, 2, 1),
    stride: Stride | None = None,
) -> nn.Module:
    """Builds the model, or the block, that an official state dict belongs to.

    A distilled model has a second head, head_kd, and the authors evaluate the mean of both heads'
    logits. That is one linear map, so both become the one head that has the mean of their weights.
    """
    state = _with_one_head(without_wrapper(state_dict))
    settings = Settings(
        NeuronChoice.resolve(neuron, steps, levels), num_heads, attention_scale, stride
    )
    model, names = build_metaspikformer(state, settings, strides)
    load_tensors(getattr(model, "part", model), rename(state, names), "Meta-SpikeFormer")
    return model.eval()


def build_metaspikformer(
    state: StateDict, settings: Settings, strides: Strides
) -> tuple[nn.Module, Names]:
    """The model or block of a state dict, not yet filled, and how its tensors are called here."""
    if "head.weight" not in state:
        return build_block(state, settings, "Meta-SpikeFormer")
    classes = len(state["head.weight"])
    model = create_trunk(state, settings, strides, num_classes=classes)
    return model, {**trunk_names(state), "head": "head.linear"}


def create_trunk(
    state: StateDict, settings: Settings, strides: Strides, **options: Any
) -> nn.Module:
    """The classifier of a state dict, or with features_only its trunk, not yet filled."""
    name, sizes = read_trunk(state, settings, strides)
    choice = settings.choice
    model: nn.Module = create_model(
        name,
        in_channels=input_channels(state),
        steps=choice.steps,
        levels=choice.levels,
        neuron=choice.name,
        **sizes,
        **options,
    )
    return model


def _with_one_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Head and distillation head as their mean; the state dict itself if there is only one."""
    if not any(name.startswith(_DISTILLED) for name in state):
        return state
    single = dict(state)
    for leaf in ("weight", "bias"):
        own, distilled = state.get(f"head.{leaf}"), single.pop(f"{_DISTILLED}{leaf}", None)
        if own is None or distilled is None or own.shape != distilled.shape:
            raise UserError(
                f"the state dict has a head_kd whose {leaf} does not go with head.{leaf}; pass a "
                "checkpoint in which both heads have the same classes"
            )
        single[f"head.{leaf}"] = (own + distilled) / 2
    return single


def _blocks(state: StateDict, groups: tuple[str, ...]) -> list[str]:
    return [f"{group}.{i}" for group in groups for i in block_indices(state, group)]


def trunk_names(state: StateDict) -> dict[str, str]:
    """How the tensors of a whole model's trunk are called here."""
    names: dict[str, str] = {}
    for stage, (down, groups) in enumerate(_STAGES):
        names |= within(down, f"trunk.{stage}.0", block_names.DOWN_SAMPLING)
        block = block_names.CONV_BLOCK if stage < 3 else block_names.TRANSFORMER_BLOCK
        for position, official in enumerate(_blocks(state, groups), start=1):
            names |= within(official, f"trunk.{stage}.{position}", block)
    return names


def input_channels(state: StateDict) -> int:
    """Channels of the images."""
    return state["downsample1_1.encode_conv.weight"].shape[1]


def read_trunk(
    state: StateDict, settings: Settings, strides: Strides
) -> tuple[str, dict[str, Any]]:
    """The name of a whole model or trunk, and its sizes.

    Raises:
        UserError: If the state dict is not Meta-SpikeFormer's.
    """
    for down, _ in _STAGES:
        if f"{down}.encode_conv.weight" not in state:
            raise UserError(f"the state dict is not Meta-SpikeFormer's: {down} is missing")
    found: dict[str, Any] = {
        "widths": tuple(len(state[f"{down}.encode_conv.weight"]) for down, _ in _STAGES),
        "depths": tuple(len(_blocks(state, groups)) for _, groups in _STAGES),
        "strides": strides,
        "stem_kernel": state["downsample1_1.encode_conv.weight"].shape[-1],
        "heads": settings.heads,
        "attention_scale": settings.attention_scale,
        **conv_sizes(state, "ConvBlock1_1.0."),
        **transformer_sizes(state, "block3.0."),
    }
    sizes = vars(MetaSpikFormerSizes(**found))
    return variant_of("metaspikformer", sizes, _TOLD), sizes
