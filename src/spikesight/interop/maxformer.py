"""Checkpoints of bic-L/MaxFormer: what its networks for ImageNet, CIFAR and events are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, get_args

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Positive, Steps, Width
from spikesight.interop.block_names import PROJECTIONS
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
from spikesight.models.maxformer import (
    Block,
    MaxFormerSizes,
    Mixer,
    Pools,
    Stem,
    build_embedding,
    build_mixer,
    build_mlp,
)
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.registry import create_model

_TOLD = ("widths", "depths", "mixers", "heads", "stem", "pools", "mlp_ratio")
_STEPS, _EVENT_STEPS = 4, 16
_HEADS = {"flat": 8, "events": 16}
_HEAD_CHANNELS, _LONE_HEADS = 64, 8
FormT = TypeVar("FormT", Stem, Pools)


def synapses(parts: Mapping[str, str], joint: str = "_") -> dict[str, str]:
    """Names of convolutions and their normalisations.

    Args:
        parts: What both names of the authors begin with, and the synapse here.
        joint: What they have before "conv" and "bn".
    """
    return {
        f"{theirs}{joint}{place}": f"{ours}.{child}"
        for theirs, ours in parts.items()
        for place, child in (("conv", "conv"), ("bn", "norm"))
    }


def _embeds(**parts: str) -> dict[str, str]:
    return synapses(parts, ".embed_")


_PROJ = synapses({"proj": "entry.conv1"})
_STRIDED = _embeds(
    embed1="entry.conv1", embed2="path.conv1", embed3="path.conv2", embed4="shortcut.conv"
)
_EVENTS = _embeds(
    max_embed1="entry.conv2",
    max_embed2="path.conv1",
    max_embed3="path.conv2",
    embed1="shortcut.conv",
)
_ATTENTION = synapses(dict(PROJECTIONS))
_BOTH = _embeds(max_embed1="path.conv1", embed1="path.conv2", max_embed2="shortcut.conv")
_FIRST = _embeds(max_embed1="path.conv1", embed1="path.conv2", embed2="shortcut.conv")
_SECOND = _embeds(embed1="path.conv1", max_embed1="path.conv2", embed2="shortcut.conv")


_POOLED = synapses({"proj": "entry.conv1", "rpe": "shortcut.conv"}) | {
    f"proj_{place}{i}": f"path.conv{i}.{child}"
    for i in (1, 2)
    for place, child in (("conv", "conv"), ("bn", "norm"))
}
_STEMS: tuple[tuple[Stem, Names], ...] = (
    ("strided", _STRIDED),
    ("pooled", _POOLED),
    ("events", _PROJ | _EVENTS),
    ("flat", _PROJ | _embeds(embed1="path.conv1", embed2="shortcut.conv")),
)
"""Forms of patch_embed1, and the names of its tensors."""
_EMBEDDINGS: tuple[tuple[Pools, Names], ...] = (
    ("first_and_shortcut", _BOTH),
    (
        "first",
        synapses({"proj3": "path.conv1", "proj4": "path.conv2", "proj_res": "shortcut.conv"}),
    ),
    ("first", _FIRST),
    ("second", _SECOND),
)
"""Forms of the others, likewise; MS-QKFormer's for ImageNet have names of their own."""


@dataclass(frozen=True)
class Settings:
    """What a state dict does not tell; see `load_maxformer`."""

    num_heads: int | None
    steps: int | None
    neuron: str
    levels: int | None
    attention_scale: Positive
    mixers: tuple[Mixer, ...] | None = None


def load_maxformer(
    state_dict: StateDict,
    *,
    num_heads: Width | None = None,
    steps: Steps | None = None,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: Positive = 0.125,
    mixers: tuple[Mixer, ...] | None = None,
) -> nn.Module:
    """Builds the Max-Former, or the block of one, that a state dict of the authors belongs to.

    The form (ImageNet, CIFAR, events) is read off the names. A mixer without weights leaves no
    trace in them: blocks that begin with none are taken to have none, unless `mixers` says what
    each stage has. The authors' average pooling, of an ablation, is not among them.
    """
    settings = Settings(num_heads, steps, neuron, levels, attention_scale, mixers)
    return load("maxformer", state_dict, settings)


def load(family: str, state_dict: StateDict, settings: Settings) -> nn.Module:
    """Builds and fills what a state dict of bic-L/MaxFormer belongs to.

    Args:
        family: "maxformer" or "ms_qkformer", whose variants the model is looked for among.
        state_dict: Official names to tensors.
        settings: What they do not tell.

    Returns:
        The model, or a lone block, which takes and gives [T, B, C, H, W], in evaluation mode.
    """
    state = without_wrapper(state_dict)
    if "head.weight" not in state:
        choice = NeuronChoice.resolve(settings.neuron, settings.steps or _STEPS, settings.levels)
        block, names = read_block(family, state, settings, choice)
        load_tensors(block, rename(state, names), family)
        return OfficialBlock(block, channels_first).eval()
    sizes, names = read_model(family, state, settings)
    renamed = rename(state, names)
    model: nn.Module = create_model(
        variant_of(family, vars(sizes), _TOLD),
        num_classes=len(state["head.weight"]),
        in_channels=renamed["trunk.0.0.entry.conv1.conv.weight"].shape[1],
        steps=settings.steps or (_EVENT_STEPS if sizes.stem == "events" else _STEPS),
        levels=settings.levels,
        neuron=settings.neuron,
        **vars(sizes),
    )
    load_tensors(model, renamed, family)
    return model.eval()


def read_model(
    family: str, state: StateDict, settings: Settings
) -> tuple[MaxFormerSizes, dict[str, str]]:
    """Sizes of a whole model, and how its tensors are called here."""
    stem, names = _form(_STEMS, part_of(state, "patch_embed1."), family, "patch_embed1")
    ours = {"head": "head.linear", **within("patch_embed1", "trunk.0.0", names)}
    pools: Pools = _EMBEDDINGS[0][0]
    stages = 1
    while part := part_of(state, f"patch_embed{stages + 1}."):
        pools, names = _form(_EMBEDDINGS, part, family, f"patch_embed{stages + 1}")
        ours |= within(f"patch_embed{stages + 1}", f"trunk.{stages}.0", names)
        stages += 1
    renamed = rename(state, ours)
    widths = [len(renamed[f"trunk.{i}.0.shortcut.conv.conv.weight"]) for i in range(stages)]
    depths = [len(block_indices(state, f"stage{i + 1}")) for i in range(stages)]
    read = (_mixer(part_of(state, f"stage{i + 1}.0.")) for i in range(stages))
    sizes = MaxFormerSizes(
        widths=tuple(widths),
        depths=tuple(depths),
        mixers=settings.mixers or tuple(read),
        heads=settings.num_heads or _HEADS.get(stem) or max(widths[-1] // _HEAD_CHANNELS, 1),
        stem=stem,
        pools=pools,
        mlp_ratio=_ratio(state["stage1.0.mlp.fc1_conv.weight"]),
        attention_scale=settings.attention_scale,
    )
    for stage, (mixer, depth) in enumerate(zip(sizes.mixers, depths, strict=True)):
        names = _block_names(mixer, sizes.mlp_ratio)
        for i in range(depth):
            ours |= within(f"stage{stage + 1}.{i}", f"trunk.{stage}.{i + 1}", names)
    return sizes, ours


def read_block(
    family: str, state: StateDict, settings: Settings, neuron: NeuronChoice
) -> tuple[nn.Module, Names]:
    """A lone block, not yet filled, and how its tensors are called here."""
    if "mlp.fc1_conv.weight" in state:
        weight = state["mlp.fc1_conv.weight"]
        mixer = settings.mixers[0] if settings.mixers else _mixer(state)
        sizes = _of_block(weight.shape[1], mixer, _ratio(weight), settings)
        block = Block(weight.shape[1], mixer, sizes, neuron, 0.0)
        return block, _block_names(mixer, sizes.mlp_ratio)
    if "fc1_conv.weight" in state:
        weight = state["fc1_conv.weight"]
        mlp = build_mlp(weight.shape[1], weight.shape[0], neuron, 0.0)
        return mlp, _mlp_names(_ratio(weight))
    if any("embed" in name or name.startswith("proj3") for name in state):
        pools, names = _form(_EMBEDDINGS, state, family, "embedding")
        weight = rename(state, names)["path.conv1.conv.weight"]
        return build_embedding(pools, weight.shape[1], weight.shape[0], neuron), names
    group = "attn" if "q_conv.weight" in state else "mixer"
    mixer = _mixer({f"{group}.{name}": tensor for name, tensor in state.items()})
    if mixer == "none":
        raise UserError(
            f"the state dict is not {family}'s: neither a model's tensors nor those of one "
            f"of its blocks are in it (it has {', '.join(list(state)[:5])}, ...)"
        )
    channels = next(len(tensor) for name, tensor in state.items() if name.endswith(".weight"))
    sizes = _of_block(channels, mixer, 1, settings)
    alone = {
        theirs.removeprefix(f"{group}."): ours.removeprefix("mixer.")
        for theirs, ours in _mixer_names(mixer).items()
    }
    return build_mixer(mixer, channels, sizes, neuron, 0.0), alone


def _of_block(channels: int, mixer: Mixer, ratio: int, settings: Settings) -> MaxFormerSizes:
    return MaxFormerSizes(
        widths=(channels,),
        depths=(1,),
        mixers=(mixer,),
        heads=settings.num_heads or _LONE_HEADS,
        stem="flat",
        mlp_ratio=ratio,
        attention_scale=settings.attention_scale,
    )


def _form(
    forms: tuple[tuple[FormT, Names], ...], part: StateDict, family: str, what: str
) -> tuple[FormT, Names]:
    """Which of its forms an embedding has.

    Where two forms have the same names, the first convolution of the path is the one that has the
    shortcut's inputs.
    """
    for form, names in forms:
        ours = rename(part, names)
        if not {f"{name}.weight" for name in names.values()} <= ours.keys():
            continue
        first, shortcut = (ours[f"{path}.conv.weight"] for path in ("path.conv1", "shortcut.conv"))
        if first.shape[1] == shortcut.shape[1]:
            return form, names
    known = ", ".join(dict.fromkeys(form for form, _ in forms))
    raise UserError(
        f"the state dict is not {family}'s: its {what} is none of the known ones ({known}); it has "
        f"{', '.join(list(part)[:5])}, ..."
    )


def _mixer(block: StateDict) -> Mixer:
    """What a block of these names begins with."""
    if "attn.v_conv.weight" in block:
        return "attention_depthwise" if "attn.dwc.weight" in block else "attention"
    if "attn.q_conv.weight" in block:
        return "token_attention"
    for name in ("mixer.conv.weight", "mixer.conv5.weight"):
        if name in block:
            side = block[name].shape[-1]
            found = next((m for m in get_args(Mixer) if m == f"depthwise_{side}"), None)
            if found is None:
                raise UserError(f"{name} has a kernel of {side}; known are those of 3, 5 and 7")
            mixer: Mixer = found
            return mixer
    return "none"


def _mixer_names(mixer: Mixer) -> dict[str, str]:
    ours = "mixer.branch"
    if mixer in ("attention", "token_attention"):
        return within("attn", ours, _ATTENTION)
    if mixer == "attention_depthwise":
        dwc = {"dwc": "depthwise.synapse.conv", "dwc_bn": "depthwise.synapse.norm"}
        return {
            **within("attn", f"{ours}.attention", _ATTENTION),
            **within("attn", ours, dwc),
        }
    return {
        f"mixer.{conv}{end}": f"{ours}.synapse.{child}"
        for conv in ("conv", "conv5")
        for end, child in (("", "conv"), ("_bn", "norm"))
    }


def _mlp_names(ratio: int) -> Names:
    if ratio == 1:
        return synapses({"fc1": "0.branch.synapse", "fc2": "1.branch.synapse"})
    return synapses({"fc1": "branch.expand", "fc2": "branch.project"})


def _block_names(mixer: Mixer, ratio: int) -> dict[str, str]:
    return {**_mixer_names(mixer), **within("mlp", "mlp", _mlp_names(ratio))}


def _ratio(weight: Tensor) -> int:
    """Hidden width over width, of an MLP's first convolution."""
    return max(weight.shape[0] // weight.shape[1], 1)
