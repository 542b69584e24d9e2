"""Checkpoints of BICLab/Spike-Driven-Transformer (SDT-V1)."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Steps, Width
from spikesight.interop import block_names
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
from spikesight.interop.official_layouts import OfficialBlock, channels_first
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.sdtv1 import Official, SDTV1Sizes, build_attention
from spikesight.neurons import ConfiguredNeuron
from spikesight.registry import create_model

_TOLD = ("width", "depth", "strides", "mlp_ratio", "attention_pools", "official")
# A map of heads and a neuron that every released attention holds and never calls, and a neuron of
# every released stem.
_UNREAD = ("talking_heads", "attn_lif", "rpe_lif")
_LEARNED_DECAY = "_lif.w"
_STEM = ("", "1", "2", "3")

_ATTENTION = {
    **{f"{short}_conv": f"{name}.conv" for short, name in block_names.PROJECTIONS},
    **{f"{short}_bn": f"{name}.norm" for short, name in block_names.PROJECTIONS},
    "shortcut_lif": "neuron",
    "q_lif": "query_neuron",
    "k_lif": "key_neuron",
    "v_lif": "value_neuron",
    "talking_heads_lif": "mask_neuron",
}
_BLOCK = {
    **within("attn", "attention", _ATTENTION),
    **within("mlp", "mlp", block_names.MLP | {"fc1_lif": "neuron1", "fc2_lif": "neuron2"}),
}


def load_sdtv1(
    state_dict: StateDict,
    *,
    num_heads: Width = 8,
    steps: Steps = 4,
    neuron: str = "lif",
    levels: Levels | None = None,
    strides: tuple[int, ...] = (2, 2, 2, 2),
    attention_pools: bool = False,
    official: Official | None = None,
) -> nn.Module:
    """Builds the model, or the lone attention, that a state dict of the authors belongs to.

    What is never read (`talking_heads.weight`, `attn_lif`, `rpe_lif`) is left out. Neurons that
    learned how they decay (spike_mode plif) are known by their `w`. Logits are the mean over time,
    also of models that were trained by TET and give those of every step.
    """
    state = _as_read(without_wrapper(state_dict))
    learned = any(name.endswith(_LEARNED_DECAY) for name in state)
    attention_pools |= official is not None
    if "q_conv.weight" in state:
        arguments = {"learnable_tau": True} if learned else {}
        choice = NeuronChoice.resolve(ConfiguredNeuron(neuron, arguments), steps, levels)
        sizes = SDTV1Sizes(
            len(state["q_conv.weight"]),
            depth=1,
            strides=(1,),
            attention_pools=attention_pools,
            official=official,
            heads=num_heads,
        )
        attention = build_attention(sizes, choice)
        load_tensors(attention, rename(state, _with_decay(_ATTENTION)), "SDT-V1")
        return OfficialBlock(attention, _with_shortcut).eval()
    renamed = rename(state, _with_decay(released_names(state)))
    found = vars(_sizes(state, strides, attention_pools, official, num_heads))
    model: nn.Module = create_model(
        variant_of("sdtv1", found, _TOLD),
        num_classes=len(state["head.weight"]),
        in_channels=state["patch_embed.proj_conv.weight"].shape[1],
        steps=steps,
        levels=levels,
        neuron=neuron,
        neuron_arguments={"learnable_tau": True} if learned else None,
        **found,
    )
    load_tensors(model, renamed, "SDT-V1")
    return model.eval()


def _sizes(
    state: StateDict,
    strides: tuple[int, ...],
    attention_pools: bool,
    official: Official | None,
    heads: int,
) -> SDTV1Sizes:
    for name in ("patch_embed.rpe_conv", "block.0.attn.q_conv", "block.0.mlp.fc1_conv", "head"):
        if f"{name}.weight" not in state:
            raise UserError(
                f"the state dict is not SDT-V1's: it has no {name}.weight; it has "
                f"{', '.join(list(state)[:5])}, ..."
            )
    if len(strides) != len(_STEM):
        raise UserError(
            f"strides={strides}; pass 1 or 2 for each of the {len(_STEM)} stages of the stem, as "
            "the digits of pooling_stat say: (2, 2, 2, 2) of 1111, (1, 1, 2, 2) of 0011"
        )
    hidden, width = state["block.0.mlp.fc1_conv.weight"].shape[:2]
    return SDTV1Sizes(
        width=width,
        depth=len(block_indices(state, "block")),
        strides=strides,
        mlp_ratio=hidden // width,
        attention_pools=attention_pools,
        official=official,
        heads=heads,
    )


def _as_read(state: StateDict) -> dict[str, Tensor]:
    """The tensors without those that the authors' code never reads."""
    return {name: t for name, t in state.items() if not set(_UNREAD) & set(name.split("."))}


def _with_decay(names: Names) -> dict[str, str]:
    """The names, those of a neuron for what it learns: 1 / tau is the sigmoid of w."""
    return {**names, **{f"{t}.w": f"{ours}.decay" for t, ours in names.items() if "_lif" in t}}


def released_names(state: StateDict) -> dict[str, str]:
    """How the tensors and neurons of the authors' code are called here."""
    names = {"head": "head.linear", "head_lif": "head_neuron"}
    for stage, number in enumerate(_STEM):
        names[f"patch_embed.proj_conv{number}"] = f"trunk.{stage}.conv.conv"
        names[f"patch_embed.proj_bn{number}"] = f"trunk.{stage}.conv.norm"
        names[f"patch_embed.proj_lif{number}"] = f"trunk.{stage}.neuron"
    position = f"trunk.{len(_STEM)}"
    names["patch_embed.proj_lif3"] = f"{position}.neuron"
    names["patch_embed.rpe_conv"] = f"{position}.conv.conv"
    names["patch_embed.rpe_bn"] = f"{position}.conv.norm"
    for i in block_indices(state, "block"):
        names |= within(f"block.{i}", f"trunk.{len(_STEM) + 1 + i}", _BLOCK)
    return names


def _with_shortcut(part: nn.Module, x: Tensor) -> Tensor:
    """Takes [T, B, C, H, W] and adds the branch to it, as the authors' module does."""
    return x + channels_first(part, x)
