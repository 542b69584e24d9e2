"""Checkpoints of BICLab/Spike2Former."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import (
    Rearrange,
    SpikeDrivenCrossAttention,
    SpikeDrivenDeformableAttention as DeformableAttention,
)
from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Steps, Stride, Width
from spikesight.interop.filling import floating_type, load_tensors
from spikesight.interop.metaspikformer import (
    MLP,
    block_indices,
    build_metaspikformer,
    read_sizes,
    rename,
    rename_model,
)
from spikesight.interop.official_layouts import (
    ChannelsFirst,
    ChannelsLast,
    EitherLayout,
    QueryAttention,
    QueryDecoderLayer,
    QuerySequence,
    TrunkMaps,
)
from spikesight.models.features import StageFeatures
from spikesight.models.metaspikformer import FeedForward, MetaSpikFormer
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.spike2former.decoder import DecoderLayer
from spikesight.models.spike2former.encoder import DeformableEncoderLayer
from spikesight.models.spike2former.mask_embedding import MaskMLP
from spikesight.models.spike2former.model import Spike2Former
from spikesight.models.spike2former.normalisation import HeadNeurons
from spikesight.models.spike2former.pixel_decoder import PixelDecoder
from spikesight.models.spike2former.sizes import OFFICIAL, Order, Sizes
from spikesight.synapses import EnergyEfficientSeparableConv

StateDict = Mapping[str, Tensor]
Rules = list[tuple[str, str]]
Renaming = Callable[[StateDict], dict[str, Tensor]]
Built = tuple[nn.Module, Renaming]

_CONV_NORM = (("0", "conv"), ("1", "norm"))
ESC: Rules = [
    (rf"{official}\.{place}\.", f"{ours}.{child}.")
    for official, ours in (("pwconv1", "expand"), ("dwconv", "depthwise"), ("pwconv2", "project"))
    for place, child in _CONV_NORM
]
SDDA: Rules = [
    *((rf"input_proj\.{official}", f"value.{ours}") for official, ours in ESC),
    *((rf"output_proj\.{official}", f"output.{ours}") for official, ours in ESC),
    *(
        (rf"{official}\.{place}\.", f"{ours}.{child}.")
        for official, ours in (
            ("dw_conv", "context.synapse"),
            ("offset", "offset"),
            ("mask", "weight"),
        )
        for place, child in _CONV_NORM
    ),
]
SDTE_LAYER: Rules = [
    (r"gamma1$", "conv_scale.0.factor"),
    (r"gamma2$", "attention_scale.0.factor"),
    (r"gamma3$", "mlp_scale.0.factor"),
    *((rf"Conv\.{official}", f"conv.{ours}") for official, ours in ESC),
    *((rf"dcn\.{official}", f"attention.{ours}") for official, ours in SDDA),
    *((rf"ffn\.{official}", f"mlp.{ours}") for official, ours in MLP),
]
ATTENTION: Rules = [
    (rf"attn\.{official}_conv\.{place}\.", f"{ours}.{child}.")
    for official, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "project"))
    for place, child in _CONV_NORM
]
QUERY_MLP: Rules = [
    (r"fc1\.", "expand.conv."),
    (r"bn1\.", "expand.norm."),
    (r"fc2\.", "project.conv."),
    (r"bn2\.", "project.norm."),
]
DECODER_LAYER: Rules = [
    *((rf"cross_attn\.{official}", f"cross_attention.{ours}") for official, ours in ATTENTION),
    *((rf"self_attn\.{official}", f"self_attention.{ours}") for official, ours in ATTENTION),
    *((rf"ffn\.{official}", f"mlp.{ours}") for official, ours in QUERY_MLP),
]
MASK_MLP: Rules = [
    (r"fc1\.", "hidden1.0."),
    (r"fc2\.", "hidden2.0."),
    (r"fc_out\.", "output.0."),
]
MASK_EMBEDDING: Rules = [
    (r"w$", "mask_embedding.shortcut_scale.0.factor"),
    (r"shortcut_conv\.", "mask_embedding.shortcut."),
    (r"cls_embed\.", "mask_embedding.classes.0."),
    *((rf"mask_embed\.{official}", f"mask_embedding.mlp.{ours}") for official, ours in MASK_MLP),
]
"""Official names to ours, module by module; every converter below is made of these."""


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
    strides: tuple[int, int, int, int, int] = (2, 2, 2, 2, 1),
    stride: Stride | None = None,
    module: Literal["trunk_mlp", "encoder_mlp"] | None = None,
) -> nn.Module:
    """Builds the segmenter, or the part of one, that an official state dict belongs to.

    Args:
        state_dict: Official names to tensors: of the whole model ("backbone.", "decode_head."),
            the trunk, the head, or any module down to one attention or MLP.
        num_heads: Attention heads.
        groups: Groups of the deformable attention; official: one per 8 channels.
        levels: Largest count D.
        official: Whether the slips of the authors' code are reproduced too; without them a
            checkpoint still loads, for fine-tuning.
        steps: Time steps T. The authors' code does not iterate time: 1, whatever its T.
        neuron: Neuron of all layers.
        order: Of the decoder's attentions; "self_first" in the panoptic code.
        strides: Down-sampling of the trunk's five stages.
        stride: Stride of a lone down-sampling block.
        module: Tells apart the trunk's and the encoder's MLP, whose tensors have the same names,
            where the layout of the input does not.

    Returns:
        The model or part in evaluation mode. A lone part takes the official layouts:
        [T, B, C, H, W] in trunk and pixel decoder, [T, B, H, W, C] in the encoder, [T, B, Q, C]
        for queries.

    Raises:
        ValueError: If the state dict is not Spike2Former's; names what is missing.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    choice = NeuronChoice.resolve(neuron, steps, levels)
    options = _Options(choice, num_heads, groups, official, order, strides, stride, module)
    model, convert = _build_part(state, options)
    model.to(floating_type(state.values()))
    load_tensors(getattr(model, "part", model), convert(state), "Spike2Former")
    return model.eval()


def rename_official(
    state_dict: StateDict,
    tensors: StateDict,
    *,
    num_heads: int = 8,
    groups: int | None = None,
    stride: int | None = None,
) -> dict[str, Tensor]:
    """Renames tensors that belong to some of a state dict's names, such as gradients.

    Args:
        state_dict: Official names to tensors, as `load_spike2former` takes it; tells the part.
        tensors: Official names to the tensors to rename.
        num_heads: As there.
        groups: As there.
        stride: As there.

    Returns:
        The tensors by the names that they have in our part.
    """
    choice = NeuronChoice.resolve("spike2former", 1, None)
    strides = (2, 2, 2, 2, 1)
    options = _Options(choice, num_heads, groups, True, "cross_first", strides, stride, None)
    return _build_part(state_dict, options)[1](tensors)


class _Options:
    """What a state dict does not tell."""

    def __init__(
        self,
        choice: NeuronChoice,
        heads: int,
        groups: int | None,
        official: bool,
        order: Order,
        strides: tuple[int, int, int, int, int],
        stride: int | None,
        module: str | None,
    ) -> None:
        self.choice = choice
        self.heads = heads
        self.groups = groups
        self.official = official
        self.order: Order = order
        self.strides = strides
        self.stride = stride
        self.module = module

    def sizes(self, width: int, **sizes: Any) -> Sizes:
        """Sizes of a head of this width."""
        official: dict[str, Any] = {**OFFICIAL, "attention_scale": width**-0.5}
        if not self.official:
            official.update(official_layout=False, query_gate="neuron")
        return Sizes(
            **{
                "width": width,
                "heads": self.heads,
                "groups": self.groups or max(1, width // 8),
                "order": self.order,
                **official,
                **sizes,
            }
        )


def _build_part(state: StateDict, options: _Options) -> Built:
    """The model or part of a state dict, not yet filled, and what renames its tensors."""
    for key, build in _PARTS:
        if key in state:
            return build(state, options)
    choice = options.choice
    try:
        trunk, _ = build_metaspikformer(
            state, choice, options.heads, "head_dim", options.strides, options.stride
        )
    except ValueError as error:
        raise UserError(
            "the state dict is not Spike2Former's: neither the model's parameters nor those of one "
            f"of its parts are in it (it has {', '.join(list(state)[:5])}, ...)"
        ) from error

    def convert(tensors: StateDict) -> dict[str, Tensor]:
        again = build_metaspikformer(
            {**state, **tensors}, choice, options.heads, "head_dim", options.strides, options.stride
        )[1]
        wanted = {id(t) for t in tensors.values()}
        return {name: tensor for name, tensor in again.items() if id(tensor) in wanted}

    return ChannelsFirst(trunk), convert


def _prefixed(state: StateDict, prefix: str) -> dict[str, Tensor]:
    return {n[len(prefix) :]: t for n, t in state.items() if n.startswith(prefix)}


def _renamed(rules: Rules, prefix: str = "") -> Renaming:
    return lambda tensors: {prefix + n: t for n, t in rename(tensors, rules).items()}


def _separable(state: StateDict, options: _Options) -> Built:
    hidden, channels = state["pwconv1.0.weight"].shape[:2]
    part = EnergyEfficientSeparableConv(
        channels,
        options.choice.build,
        ratio=hidden // channels,
        kernel_size=state["dwconv.0.weight"].shape[-1],
    )
    return ChannelsLast(part), _renamed(ESC)


def _deformable(state: StateDict, options: _Options) -> Built:
    sizes = _encoder_sizes({f"dcn.{n}": t for n, t in state.items()}, options)
    part = DeformableAttention(
        sizes.width,
        sizes.groups,
        options.choice.build,
        side=_side(state["offset.0.weight"].shape[0], sizes.groups),
        kernel_size=sizes.deformable_kernel,
        bias=True,
        official_layout=sizes.official_layout,
    )
    return ChannelsLast(part), _renamed(SDDA)


def _side(offsets: int, groups: int) -> int:
    side = math.isqrt(offsets // (2 * groups))
    if 2 * groups * side**2 != offsets:
        raise UserError(
            f"{offsets} offsets are no square kernel for {groups} groups; pass the number of "
            "groups that the checkpoint was trained with, groups=..."
        )
    return side


def _encoder_sizes(state: StateDict, options: _Options, **sizes: Any) -> Sizes:
    width = state["dcn.offset.0.weight"].shape[1]
    found = options.sizes(
        width,
        deformable_kernel=state["dcn.dw_conv.0.weight"].shape[-1],
        **sizes,
    )
    _side(state["dcn.offset.0.weight"].shape[0], found.groups)
    if "Conv.dwconv.0.weight" in state:
        found = replace(
            found,
            separable_kernel=state["Conv.dwconv.0.weight"].shape[-1],
            encoder_hidden=state["ffn.fc1_conv.weight"].shape[0],
        )
    return found


def _encoder_layer(state: StateDict, options: _Options) -> Built:
    part = DeformableEncoderLayer(_encoder_sizes(state, options), options.choice)
    return ChannelsLast(part), _renamed(SDTE_LAYER)


def _encoder(state: StateDict, options: _Options) -> Built:
    first = _prefixed(state, "layers.0.")
    sizes = _encoder_sizes(first, options)
    indices = block_indices(state, "layers")
    part = nn.Sequential(*(DeformableEncoderLayer(sizes, options.choice) for _ in indices))
    return ChannelsLast(part), lambda tensors: _rename_layers(tensors, "layers", "", SDTE_LAYER)


def _rename_layers(tensors: StateDict, official: str, ours: str, rules: Rules) -> dict[str, Tensor]:
    renamed = {}
    for index in block_indices(tensors, re.escape(official)):
        inner = _prefixed(tensors, f"{official}.{index}.")
        renamed.update({f"{ours}{index}.{n}": t for n, t in rename(inner, rules).items()})
    return renamed


def _encoder_mlp(state: StateDict, options: _Options) -> Built:
    hidden, channels = state["fc1_conv.weight"].shape[:2]
    part = FeedForward(channels, hidden, 1, options.choice, bias=True)
    scrambled = Rearrange("read_channels_last") if options.official else nn.Identity()
    return EitherLayout(part, channels, scrambled, options.module), _renamed(MLP)


def _mask_mlp(state: StateDict, options: _Options) -> Built:
    part = MaskMLP(len(state["fc1.weight"]), options.choice, norm=False)
    return QuerySequence(part), _renamed(MASK_MLP)


def _query_mlp(state: StateDict, options: _Options) -> Built:
    hidden, channels = state["fc1.weight"].shape[:2]
    mlp = FeedForward(channels, hidden, 1, options.choice, bias=True)
    if not options.official:
        return QuerySequence(nn.Sequential(mlp)), _renamed(QUERY_MLP, "0.")
    scrambled = nn.Sequential(
        Rearrange("written_channels_last"), mlp, Rearrange("read_channels_last")
    )
    return QuerySequence(scrambled), _renamed(QUERY_MLP, "1.")


def _attention(state: StateDict, options: _Options) -> Built:
    channels = state["attn.q_conv.0.weight"].shape[0]
    part = SpikeDrivenCrossAttention(
        channels, options.heads, channels**-0.5, options.choice.build, bias=True
    )
    return QueryAttention(part), _renamed(ATTENTION)


def _decoder_sizes(state: StateDict, options: _Options) -> Sizes:
    hidden, width = state["ffn.fc1.weight"].shape[:2]
    return options.sizes(width, decoder_hidden=hidden)


def _decoder_layer(state: StateDict, options: _Options) -> Built:
    part = DecoderLayer(_decoder_sizes(state, options), options.choice, options.choice)
    return QueryDecoderLayer(part), _renamed(DECODER_LAYER)


def _pixel_sizes(state: StateDict, options: _Options) -> Sizes:
    layers = block_indices(state, r"encoder\.layers")
    found: dict[str, Any] = {"encoder_layers": len(layers)}
    width = state["mask_feature.weight"].shape[0]
    if not layers:
        found["encoder"] = "none"
    if state["output_convs.0.0.weight"].shape[1] != 1:
        found["fpn"] = "dense"
    if not layers:
        return options.sizes(width, **found)
    return _encoder_sizes(_prefixed(state, f"encoder.layers.{layers[0]}."), options, **found)


def _pixel_channels(state: StateDict) -> list[int]:
    finer = [state[f"lateral_convs.{i}.0.weight"].shape[1] for i in _laterals(state)]
    return [*finer, state["encoder_in_proj.0.weight"].shape[1]]


def _laterals(state: StateDict) -> list[int]:
    return block_indices(state, "lateral_convs")


def _pixel_decoder(state: StateDict, options: _Options) -> Built:
    sizes = _pixel_sizes(state, options)
    part = PixelDecoder(_pixel_channels(state), sizes, options.choice)
    last = len(_laterals(state)) - 1
    return TrunkMaps(part), lambda tensors: _rename_pixel_decoder(tensors, last)


def _rename_pixel_decoder(tensors: StateDict, last: int) -> dict[str, Tensor]:
    renamed = _rename_layers(tensors, "encoder.layers", "encoder.", SDTE_LAYER)
    rest = {n: t for n, t in tensors.items() if not n.startswith("encoder.layers.")}
    rules: Rules = [
        (r"mask_feature\.", "mask_features.0."),
        *(
            (rf"{official}\.{place}\.", f"{ours}.synapse.{child}.")
            for official, ours in (
                ("encoder_in_proj", "encoder_inputs.0"),
                ("encoder_out_proj", "encoder_output"),
                *((rf"lateral_convs\.{i}", f"laterals.{last - i}") for i in range(last + 1)),
                *((rf"output_convs\.{i}", f"outputs.{last - i}") for i in range(last + 1)),
            )
            for place, child in _CONV_NORM
        ),
    ]
    return {**renamed, **rename(rest, rules)}


def _rename_head(tensors: StateDict, last: int) -> dict[str, Tensor]:
    pixel, decoder = "pixel_decoder.", "transformer_decoder.layers"
    renamed = {
        pixel + n: t for n, t in _rename_pixel_decoder(_prefixed(tensors, pixel), last).items()
    }
    renamed.update(_rename_layers(tensors, decoder, "decoder.", DECODER_LAYER))
    for official, ours in (("query_feat", "query_feature"), ("query_embed", "query_position")):
        if (rows := tensors.get(f"{official}.weight")) is not None:
            renamed[f"{ours}.weight"] = rows.t().contiguous()
    if (rows := tensors.get("level_embed.weight")) is not None:
        renamed.update({f"levels.{i}.weight": row for i, row in enumerate(rows)})
    rest = {
        n: t
        for n, t in tensors.items()
        if not n.startswith((pixel, decoder, "query_feat", "query_embed", "level_embed"))
    }
    return {**renamed, **rename(rest, MASK_EMBEDDING)}


_MODEL_PARTS = ("backbone.", "decode_head.")


def _model(state: StateDict, options: _Options) -> Built:
    trunk_state, head = _prefixed(state, "backbone."), _prefixed(state, "decode_head.")
    trunk_sizes = read_sizes(trunk_state, options.heads, "head_dim", options.strides)
    decoder = "transformer_decoder.layers"
    layers = block_indices(head, re.escape(decoder))
    pixel = _prefixed(head, "pixel_decoder.")
    sizes = replace(
        _pixel_sizes(pixel, options),
        trunk="metaspikformer_15m",
        trunk_options=vars(trunk_sizes),
        queries=len(head["query_feat.weight"]),
        decoder_layers=len(layers),
        decoder_hidden=head[f"{decoder}.{layers[0]}.ffn.fc1.weight"].shape[0],
    )
    neurons = HeadNeurons(options.choice, options.choice, options.choice)
    classes = len(head["cls_embed.weight"]) - 1
    channels = trunk_state["downsample1_1.encode_conv.weight"].shape[1]
    model = Spike2Former(sizes, neurons, num_classes=classes, in_channels=channels)
    model.recipe = {
        "name": "spike2former_15m",
        "arguments": {
            **model.resolved,
            "num_classes": classes,
            "in_channels": channels,
            "steps": options.choice.steps,
        },
    }
    last = len(_laterals(pixel)) - 1

    def convert(tensors: StateDict) -> dict[str, Tensor]:
        trunk = rename_model(_prefixed(tensors, "backbone."))
        others = {n: t for n, t in tensors.items() if not n.startswith(_MODEL_PARTS)}
        return {
            **{f"trunk.{n}": t for n, t in trunk.items()},
            **_rename_head(_prefixed(tensors, "decode_head."), last),
            **others,
        }

    return model, convert


def _trunk(state: StateDict, options: _Options) -> Built:
    sizes = read_sizes(state, options.heads, "head_dim", options.strides)
    channels = state["downsample1_1.encode_conv.weight"].shape[1]
    whole = MetaSpikFormer(sizes, options.choice, num_classes=1, in_channels=channels)
    return StageFeatures(whole), rename_model


_PARTS: tuple[tuple[str, Callable[[StateDict, _Options], Built]], ...] = (
    ("decode_head.query_feat.weight", _model),
    ("downsample1_2.encode_conv.weight", _trunk),
    ("mask_feature.weight", _pixel_decoder),
    ("layers.0.gamma1", _encoder),
    ("gamma1", _encoder_layer),
    ("offset.0.weight", _deformable),
    ("pwconv1.0.weight", _separable),
    ("cross_attn.attn.q_conv.0.weight", _decoder_layer),
    ("attn.q_conv.0.weight", _attention),
    ("fc_out.weight", _mask_mlp),
    ("fc2.weight", _query_mlp),
    ("fc1_conv.weight", _encoder_mlp),
)
"""Which tensor tells which part, the largest part first."""
