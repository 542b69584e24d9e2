"""Single blocks of the authors' models, each known by one of its tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import (
    Rearrange,
    SpikeDrivenCrossAttention,
    SpikeDrivenDeformableAttention,
    SpikeDrivenSelfAttention,
)
from spikesight.errors import UserError
from spikesight.files.ranges import Positive
from spikesight.interop import block_names as names, official_layouts as layouts
from spikesight.interop.filling import Names, StateDict, block_indices, part_of, within
from spikesight.interop.official_layouts import Layout, OfficialBlock
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.metaspikformer import (
    ConvBlock,
    DownSampling,
    MetaSpikFormerSizes,
    SepConv,
    TransformerBlock,
)
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.spike2former.decoder import DecoderLayer
from spikesight.models.spike2former.encoder import DeformableEncoderLayer
from spikesight.models.spike2former.mask_embedding import MaskMLP
from spikesight.models.spike2former.sizes import OFFICIAL, Order, Spike2FormerSizes
from spikesight.synapses import BorderNorm, EnergyEfficientSeparableConv, RepConv

AttentionScale = Positive | Literal["head_dim"]
_LAYER_SCALE = 1e-6
_STEM_KERNEL = 7


@dataclass(frozen=True)
class Settings:
    """What a state dict does not tell; see the loaders of the families."""

    choice: NeuronChoice
    heads: int
    attention_scale: AttentionScale = "head_dim"
    stride: int | None = None
    groups: int | None = None
    official: bool = True
    order: Order = "cross_first"
    module: Literal["trunk_mlp", "encoder_mlp"] | None = None

    def sizes(self, width: int, **sizes: Any) -> Spike2FormerSizes:
        """Sizes of a Spike2Former's head of this width."""
        official: dict[str, Any] = {**OFFICIAL, "attention_scale": width**-0.5}
        if not self.official:
            official.update(official_layout=False, query_gate="neuron")
        return Spike2FormerSizes(
            width=width,
            heads=self.heads,
            groups=self.groups or max(1, width // 8),
            order=self.order,
            **official,
            **sizes,
        )


def build_block(state: StateDict, settings: Settings, family: str) -> tuple[nn.Module, Names]:
    """The block of a state dict, not yet filled, and how its tensors are called here.

    Args:
        state: Official names to tensors.
        settings: What they do not tell.
        family: "Meta-SpikeFormer" or "Spike2Former".

    Raises:
        UserError: If they are of none of the family's blocks.
    """
    if "layers.0.gamma1" in state:
        return _encoder(state, settings)
    for tensor, (build, table, layout) in _BLOCKS[family].items():
        if tensor in state:
            block = build(state, settings)
            whole = isinstance(block, OfficialBlock)
            return block if whole else OfficialBlock(block, layout), table
    raise UserError(
        f"the state dict is not {family}'s: neither a model's parameters nor those of one of its "
        f"blocks are in it (it has {', '.join(list(state)[:5])}, ...)"
    )


def conv_sizes(state: StateDict, block: str = "") -> dict[str, int]:
    """The sizes that a convolution block (its name and a dot) tells."""
    hidden, channels = state[f"{block}conv1.weight"].shape[:2]
    return {"conv_ratio": hidden // channels, **_separable_sizes(state, f"{block}Conv.")}


def _separable_sizes(state: StateDict, part: str = "") -> dict[str, int]:
    hidden, channels = state[f"{part}pwconv1.weight"].shape[:2]
    kernel = state[f"{part}dwconv.weight"].shape[-1]
    return {"separable_ratio": hidden // channels, "separable_kernel": kernel}


def transformer_sizes(state: StateDict, block: str = "") -> dict[str, Any]:
    """The sizes that a transformer block tells."""
    hidden, channels = state[f"{block}mlp.fc1_conv.weight"].shape[:2]
    scale = _LAYER_SCALE if f"{block}layer_scale1" in state else None
    return {"mlp_ratio": hidden // channels, "layer_scale": scale}


def _trunk_sizes(settings: Settings, **sizes: Any) -> MetaSpikFormerSizes:
    scale = settings.attention_scale
    widths = (settings.heads,) * 5
    return MetaSpikFormerSizes(widths, heads=settings.heads, attention_scale=scale, **sizes)


def _self_attention(state: StateDict, settings: Settings) -> nn.Module:
    channels, heads = len(state["q_conv.0.body.0.weight"]), settings.heads
    scale = settings.attention_scale
    factor = (channels // heads) ** -0.5 if scale == "head_dim" else scale
    choice = settings.choice
    return SpikeDrivenSelfAttention(channels, heads, factor, choice.build, choice.build_attention)


def _transformer_block(state: StateDict, settings: Settings) -> nn.Module:
    channels = len(state["attn.q_conv.0.body.0.weight"])
    sizes = _trunk_sizes(settings, **transformer_sizes(state))
    return TransformerBlock(channels, sizes, settings.choice, 0.0)


def _conv_block(state: StateDict, settings: Settings) -> nn.Module:
    channels = state["conv1.weight"].shape[1]
    sizes = _trunk_sizes(settings, **conv_sizes(state))
    return ConvBlock(channels, sizes, settings.choice, 0.0)


def _separable(state: StateDict, settings: Settings) -> nn.Module:
    sizes = _trunk_sizes(settings, **_separable_sizes(state))
    return SepConv(state["pwconv1.weight"].shape[1], sizes, settings.choice)


def _down_sampling(state: StateDict, settings: Settings) -> nn.Module:
    out_channels, channels, kernel, _ = state["encode_conv.weight"].shape
    first = kernel == _STEM_KERNEL
    stride = settings.stride or (2 if first else 1)
    choice = None if first else settings.choice
    return DownSampling(channels, out_channels, kernel, stride, choice)


def _rep_conv(state: StateDict, settings: Settings) -> nn.Module:
    channels, out_channels = state["body.0.weight"].shape[1], len(state["body.2.1.weight"])
    return RepConv(channels, out_channels, outer_norm=False)


def _border_norm(state: StateDict, settings: Settings) -> nn.Module:
    return BorderNorm(len(state["bn.weight"]), padding=1)


def _mlp(state: StateDict, settings: Settings, first: str = "fc1_conv.weight") -> nn.Module:
    hidden, channels = state[first].shape[:2]
    return SpikeDrivenFeedForward(channels, hidden, 1, settings.choice.build, bias=True)


def _either_mlp(state: StateDict, settings: Settings) -> nn.Module:
    """The MLP of Spike2Former's trunk, or of its encoder, which has the same names."""
    channels, module = state["fc1_conv.weight"].shape[1], settings.module
    scramble = Rearrange("read_channels_last") if settings.official else nn.Identity()

    def layout(part: nn.Module, x: Tensor) -> Tensor:
        if module == "trunk_mlp" or (module is None and x.shape[-3] == channels):
            return layouts.channels_first(part, x)
        return layouts.channels_last(nn.Sequential(part, scramble), x)

    return OfficialBlock(_mlp(state, settings), layout)


def _query_mlp(state: StateDict, settings: Settings) -> nn.Module:
    def layout(part: nn.Module, x: Tensor) -> Tensor:
        if not settings.official:
            return layouts.queries(part, x)
        write, read = Rearrange("written_channels_last"), Rearrange("read_channels_last")
        return layouts.queries(nn.Sequential(write, part, read), x)

    return OfficialBlock(_mlp(state, settings, "fc1.weight"), layout)


def _mask_mlp(state: StateDict, settings: Settings) -> nn.Module:
    return MaskMLP(len(state["fc1.weight"]), settings.choice, norm=False)


def _efficient_separable(state: StateDict, settings: Settings) -> nn.Module:
    hidden, channels = state["pwconv1.0.weight"].shape[:2]
    kernel = state["dwconv.0.weight"].shape[-1]
    build = settings.choice.build
    return EnergyEfficientSeparableConv(
        channels, build, ratio=hidden // channels, kernel_size=kernel
    )


def encoder_sizes(
    state: StateDict, settings: Settings, layer: str = "", **sizes: Any
) -> Spike2FormerSizes:
    """The sizes that a layer of Spike2Former's encoder tells, and the given ones.

    Raises:
        UserError: If the number of groups is another.
    """
    offsets, width = state[f"{layer}dcn.offset.0.weight"].shape[:2]
    kernel = state[f"{layer}dcn.dw_conv.0.weight"].shape[-1]
    found = settings.sizes(width, deformable_kernel=kernel, **sizes)
    _side(offsets, found.groups)
    if f"{layer}Conv.dwconv.0.weight" in state:
        found = replace(
            found,
            separable_kernel=state[f"{layer}Conv.dwconv.0.weight"].shape[-1],
            encoder_hidden=len(state[f"{layer}ffn.fc1_conv.weight"]),
        )
    return found


def _side(offsets: int, groups: int) -> int:
    side = math.isqrt(offsets // (2 * groups))
    if 2 * groups * side**2 != offsets:
        raise UserError(
            f"{offsets} offsets are no square kernel for {groups} groups; pass the number of "
            "groups that the checkpoint was trained with, groups=..."
        )
    return side


def _deformable(state: StateDict, settings: Settings) -> nn.Module:
    sizes = encoder_sizes({f"dcn.{name}": tensor for name, tensor in state.items()}, settings)
    return SpikeDrivenDeformableAttention(
        sizes.width,
        sizes.groups,
        settings.choice.build,
        side=_side(len(state["offset.0.weight"]), sizes.groups),
        kernel_size=sizes.deformable_kernel,
        bias=True,
        official_layout=sizes.official_layout,
    )


def _encoder_layer(state: StateDict, settings: Settings) -> nn.Module:
    return DeformableEncoderLayer(encoder_sizes(state, settings), settings.choice)


def _encoder(state: StateDict, settings: Settings) -> tuple[nn.Module, Names]:
    numbers = block_indices(state, "layers")
    layers = [_encoder_layer(part_of(state, f"layers.{i}."), settings) for i in numbers]
    table: dict[str, str] = {}
    for i in numbers:
        table |= within(f"layers.{i}", str(i), names.SDTE_LAYER)
    return OfficialBlock(nn.Sequential(*layers), layouts.channels_last), table


def _cross_attention(state: StateDict, settings: Settings) -> nn.Module:
    channels = len(state["attn.q_conv.0.weight"])
    build = settings.choice.build
    return SpikeDrivenCrossAttention(channels, settings.heads, channels**-0.5, build, bias=True)


def _decoder_layer(state: StateDict, settings: Settings) -> nn.Module:
    hidden, width = state["ffn.fc1.weight"].shape[:2]
    sizes = settings.sizes(width, decoder_hidden=hidden)
    return DecoderLayer(sizes, settings.choice, settings.choice)


_Blocks = dict[str, tuple[Callable[[StateDict, Settings], nn.Module], Names, Layout]]
_FIRST, _LAST = layouts.channels_first, layouts.channels_last
_OF_TRUNKS: _Blocks = {
    "attn.q_conv.0.body.0.weight": (_transformer_block, names.TRANSFORMER_BLOCK, _FIRST),
    "q_conv.0.body.0.weight": (_self_attention, names.SELF_ATTENTION, _FIRST),
    "Conv.pwconv1.weight": (_conv_block, names.CONV_BLOCK, _FIRST),
    "pwconv1.weight": (_separable, names.SEPARABLE, _FIRST),
    "fc1_conv.weight": (_mlp, names.MLP, _FIRST),
    "encode_conv.weight": (_down_sampling, names.DOWN_SAMPLING, _FIRST),
    "body.0.weight": (_rep_conv, names.REP_CONV, _FIRST),
    "bn.weight": (_border_norm, names.BORDER_NORM, _FIRST),
}
_BLOCKS: dict[str, _Blocks] = {
    "Meta-SpikeFormer": _OF_TRUNKS,
    "Spike2Former": {
        **_OF_TRUNKS,
        "gamma1": (_encoder_layer, names.SDTE_LAYER, _LAST),
        "offset.0.weight": (_deformable, names.SDDA, _LAST),
        "pwconv1.0.weight": (_efficient_separable, names.ESC, _LAST),
        "cross_attn.attn.q_conv.0.weight": (
            _decoder_layer,
            names.DECODER_LAYER,
            layouts.decoder_layer,
        ),
        "attn.q_conv.0.weight": (_cross_attention, names.CROSS_ATTENTION, layouts.attention),
        "fc_out.weight": (_mask_mlp, names.MASK_MLP, layouts.queries),
        "fc2.weight": (_query_mlp, names.QUERY_MLP, layouts.queries),
        "fc1_conv.weight": (_either_mlp, names.MLP, _FIRST),
    },
}
