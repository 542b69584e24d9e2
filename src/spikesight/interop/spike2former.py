"""Checkpoints of BICLab/Spike2Former."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.files.ranges import Levels, Steps, Stride, Width
from spikesight.interop import block_names
from spikesight.interop.blocks import Settings, build_block, encoder_sizes
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
from spikesight.interop.metaspikformer import (
    Strides,
    create_trunk,
    input_channels,
    read_trunk,
    trunk_names,
)
from spikesight.interop.official_layouts import OfficialBlock, pyramid
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.spike2former.pixel_decoder import PixelDecoder
from spikesight.models.spike2former.sizes import Order, Spike2FormerSizes
from spikesight.registry import create_model

_TRUNK, _HEAD, _PIXEL = "backbone.", "decode_head.", "decode_head.pixel_decoder."
_LAYERS = "decode_head.transformer_decoder.layers"
_TOLD = (
    *("trunk", "width", "heads", "queries", "encoder", "encoder_layers", "encoder_hidden"),
    *("groups", "separable_kernel", "deformable_kernel", "fpn", "decoder_layers"),
    *("decoder_hidden", "order"),
)


def load_spike2former(
    state_dict: StateDict,
    *,
    num_heads: Width = 8,
    groups: Width | None = None,
    levels: Levels = 8,
    official: bool = True,
    steps: Steps = 1,
    neuron: str = "spike2former",
    order: Order = "cross_first",
    strides: Strides = (2, 2, 2, 2, 1),
    stride: Stride | None = None,
    module: Literal["trunk_mlp", "encoder_mlp"] | None = None,
) -> nn.Module:
    """Builds the segmenter, or the part of one, that an official state dict belongs to."""
    state = without_wrapper(state_dict)
    settings = Settings(
        NeuronChoice.resolve(neuron, steps, levels),
        num_heads,
        stride=stride,
        groups=groups,
        official=official,
        order=order,
        module=module,
    )
    model, names = build_spike2former(state, settings, strides)
    renamed = rename(as_embeddings(state), names)
    load_tensors(getattr(model, "part", model), renamed, "Spike2Former")
    return model.eval()


def build_spike2former(
    state: StateDict, settings: Settings, strides: Strides
) -> tuple[nn.Module, Names]:
    """The model or part of a state dict, not yet filled, and how its tensors are called here."""
    if f"{_HEAD}query_feat.weight" in state:
        return _model(state, settings, strides), _model_names(state)
    if "downsample1_2.encode_conv.weight" in state:
        trunk = create_trunk(state, settings, strides, num_classes=1, features_only=True)
        return trunk, trunk_names(state)
    if "mask_feature.weight" in state:
        finer = [state[f"lateral_convs.{i}.0.weight"].shape[1] for i in _laterals(state)]
        channels = [*finer, state["encoder_in_proj.0.weight"].shape[1]]
        part = PixelDecoder(channels, _pixel_sizes(state, settings), settings.choice)
        return OfficialBlock(part, pyramid), _pixel_names(state)
    return build_block(state, settings, "Spike2Former")


def _model(state: StateDict, settings: Settings, strides: Strides) -> nn.Module:
    trunk_state = part_of(state, _TRUNK)
    trunk, trunk_options = read_trunk(trunk_state, settings, strides)
    layers = block_indices(state, _LAYERS)
    sizes = vars(
        replace(
            _pixel_sizes(part_of(state, _PIXEL), settings),
            trunk=trunk,
            trunk_options=trunk_options,
            queries=len(state[f"{_HEAD}query_feat.weight"]),
            decoder_layers=len(layers),
            decoder_hidden=len(state[f"{_LAYERS}.{layers[0]}.ffn.fc1.weight"]),
        )
    )
    model: nn.Module = create_model(
        variant_of("spike2former", sizes, _TOLD),
        num_classes=len(state[f"{_HEAD}cls_embed.weight"]) - 1,
        in_channels=input_channels(trunk_state),
        steps=settings.choice.steps,
        levels=settings.choice.levels,
        neuron=settings.choice.name,
        **sizes,
    )
    return model


def _model_names(state: StateDict) -> Names:
    names = within("backbone", "trunk", trunk_names(part_of(state, _TRUNK)))
    names |= within("decode_head", "mask_embedding", block_names.MASK_EMBEDDING)
    pixel = _pixel_names(part_of(state, _PIXEL))
    names |= within(_PIXEL[:-1], "pixel_decoder", pixel)
    for i in block_indices(state, _LAYERS):
        names |= within(f"{_LAYERS}.{i}", f"decoder.{i}", block_names.DECODER_LAYER)
    embeddings = {"query_feat": "query_feature", "query_embed": "query_position"}
    levels = {"level_embed": "levels"}
    return {**names, **{f"{_HEAD}{t}": o for t, o in (embeddings | levels).items()}}


def as_embeddings(tensors: StateDict) -> dict[str, Tensor]:
    """The tensors with embeddings as ours: queries in columns, levels apart."""
    changed = dict(tensors)
    for name in (f"{_HEAD}query_feat.weight", f"{_HEAD}query_embed.weight"):
        if name in changed:
            changed[name] = changed[name].t().contiguous()
    levels = changed.pop(f"{_HEAD}level_embed.weight", ())
    return changed | {f"{_HEAD}level_embed.{i}.weight": row for i, row in enumerate(levels)}


def _laterals(state: StateDict) -> list[int]:
    return block_indices(state, "lateral_convs")


def _pixel_names(state: StateDict) -> Names:
    layers = block_indices(state, "encoder.layers")
    return block_names.pixel_decoder(len(_laterals(state)), len(layers))


def _pixel_sizes(state: StateDict, settings: Settings) -> Spike2FormerSizes:
    layers = block_indices(state, "encoder.layers")
    dense = state["output_convs.0.0.weight"].shape[1] != 1
    found: dict[str, Any] = {
        "encoder_layers": len(layers),
        "fpn": "dense" if dense else "depthwise",
    }
    if layers:
        return encoder_sizes(state, settings, f"encoder.layers.{layers[0]}.", **found)
    return settings.sizes(len(state["mask_feature.weight"]), encoder="none", **found)
