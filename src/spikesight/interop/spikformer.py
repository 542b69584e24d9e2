"""Checkpoints of ZK-Zhou/spikformer and of SpikingJelly's Spikformer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Steps, Width
from spikesight.interop.filling import load_tensors
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.spikformer import Sizes, Spikformer
from spikesight.models.stems import PoolOf

StateDict = Mapping[str, Tensor]

_RELEASED = [
    (r"patch_embed\.rpe_conv\.", "trunk.{position}.conv.conv."),
    (r"patch_embed\.rpe_bn\.", "trunk.{position}.conv.norm."),
    (r"patch_embed\.proj_conv(\d?)\.", "trunk.{stage}.conv.conv."),
    (r"patch_embed\.proj_bn(\d?)\.", "trunk.{stage}.conv.norm."),
    (r"block\.(\d+)\.norm([12])\.", "trunk.{block}.unread_norm{last}."),
    *(
        (
            rf"block\.(\d+)\.attn\.{short}_(?:conv|linear)\.",
            f"trunk.{{block}}.attention.{ours}.conv.",
        )
        for short, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("proj", "project"))
    ),
    *(
        (rf"block\.(\d+)\.attn\.{short}_bn\.", f"trunk.{{block}}.attention.{ours}.norm.")
        for short, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("proj", "project"))
    ),
    *(
        (rf"block\.(\d+)\.mlp\.{theirs}_{part}\.", f"trunk.{{block}}.mlp.{ours}.{place}.")
        for theirs, ours in (("fc1", "expand"), ("fc2", "project"))
        for part, place in (("(?:conv|linear)", "conv"), ("bn", "norm"))
    ),
    (r"pos_embed$", "unread_position"),
    (r"norm\.", "unread_norm."),
    (r"head\.", "head.linear."),
]
_PLACES = {"0": "conv", "1": "norm"}
_STAGES = 4

# What a state dict does not tell, by the form of the released code: channels per head, factor of
# the attention product, time steps and down-sampling.
_FORMS = {
    "imagenet": (64, 0.125, 4, (2, 2, 2, 2)),
    "cifar10": (32, 0.125, 4, (1, 1, 2, 2)),
    "cifar10dvs": (16, 0.25, 16, (2, 2, 2, 2)),
    "spikingjelly": (32, 0.125, 4, (2, 2, 2, 2)),
}


def load_spikformer(
    state_dict: StateDict,
    *,
    num_heads: Width | None = None,
    steps: Steps | None = None,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: float | None = None,
    strides: tuple[int, ...] | None = None,
) -> Spikformer:
    """Builds the Spikformer that a state dict of the authors or of SpikingJelly belongs to.

    The form (ImageNet, CIFAR, CIFAR10-DVS or SpikingJelly's) is read off the names and shapes.
    LayerNorms and the position embedding, which the released modules never read, come along
    frozen, so that every tensor has its place. SpikingJelly's module returns logits for every time
    step; this model returns their mean.

    Args:
        state_dict: Official names to tensors.
        num_heads: Attention heads; by default 64 channels per head, in the CIFAR form and
            SpikingJelly's 32, in the CIFAR10-DVS form 16.
        steps: Time steps T; by default 4, in the CIFAR10-DVS form 16.
        neuron: Neuron of all layers.
        levels: Largest count D of integer neurons.
        attention_scale: Factor of the attention product; by default 0.125, in the CIFAR10-DVS
            form 0.25.
        strides: Down-sampling of the stem's four stages; by default 2 each, in the CIFAR form
            (1, 1, 2, 2).

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: If the state dict is not Spikformer's.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    form = _form(state)
    head_dim, scale, usual_steps, usual_strides = _FORMS[form]
    jelly = form == "spikingjelly"
    renamed = _rename_spikingjelly(state) if jelly else _rename_released(state)
    width, in_channels = _width_and_input(renamed)
    first = f"trunk.{_STAGES + 1}."
    pool_of: PoolOf = "currents" if jelly else "spikes"
    position = state.get("pos_embed")
    sizes = Sizes(
        width=width,
        depth=len({name.split(".")[1] for name in renamed if ".mlp." in name}),
        heads=num_heads or max(width // head_dim, 1),
        strides=strides or usual_strides,
        mlp_ratio=renamed[f"{first}mlp.expand.conv.weight"].shape[0] // width,
        attention_scale=scale if attention_scale is None else attention_scale,
        qkv_bias=f"{first}attention.query.conv.bias" in renamed,
        bias=f"{first}mlp.expand.conv.bias" in renamed,
        pool_of=pool_of,
        layer_norms=f"{first}unread_norm1.weight" in renamed,
        position_tokens=0 if position is None else position.shape[1],
    )
    classes = renamed["head.linear.weight"].shape[0]
    choice = NeuronChoice.resolve(neuron, steps or usual_steps, levels)
    model = Spikformer(sizes, choice, num_classes=classes, in_channels=in_channels)
    model.recipe = {
        "name": "spikformer_8_512",
        "arguments": {
            **model.resolved,
            "num_classes": classes,
            "in_channels": in_channels,
            "steps": choice.steps,
        },
    }
    load_tensors(model, renamed, "Spikformer")
    return model.eval()


def _form(state: StateDict) -> str:
    if "blocks.0.attn.qkv_conv_bn.0.weight" in state:
        return "spikingjelly"
    if "block.0.attn.q_linear.weight" in state:
        return "cifar10"
    if "block.0.attn.q_conv.weight" in state and "block.0.mlp.fc1_conv.weight" in state:
        return "imagenet" if state["block.0.mlp.fc1_conv.weight"].ndim == 4 else "cifar10dvs"
    raise UserError(
        "the state dict is not Spikformer's: it has no block.0.attn.q_conv.weight (ImageNet, "
        "CIFAR10-DVS), block.0.attn.q_linear.weight (CIFAR) or "
        "blocks.0.attn.qkv_conv_bn.0.weight (SpikingJelly); it has "
        f"{', '.join(list(state)[:5])}, ..."
    )


def _width_and_input(renamed: Mapping[str, Tensor]) -> tuple[int, int]:
    for index in (0, _STAGES - 1):
        if f"trunk.{index}.conv.conv.weight" not in renamed:
            raise UserError(
                f"the state dict is not Spikformer's: convolution {index + 1} of its patch "
                "embedding is missing"
            )
    if "head.linear.weight" not in renamed:
        raise UserError("the state dict has no head.weight; pass that of a classifier")
    width = renamed[f"trunk.{_STAGES - 1}.conv.conv.weight"].shape[0]
    return width, renamed["trunk.0.conv.conv.weight"].shape[1]


def _rename_released(state: StateDict) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        ours = name
        for pattern, replacement in _RELEASED:
            if match := re.match(pattern, name):
                groups = match.groups() or ("",)
                number = int(groups[0] or 0)
                prefix = replacement.format(
                    position=_STAGES,
                    stage=number,
                    block=_STAGES + 1 + number,
                    last=groups[-1],
                )
                ours = prefix + name[match.end() :]
                break
        renamed[ours] = tensor
    return renamed


def _rename_spikingjelly(state: StateDict) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        parts = name.split(".")
        match parts:
            case ["patch_embed", "stages", stage, "conv_bn", "block", place, leaf]:
                renamed[f"trunk.{stage}.conv.{_PLACES.get(place, place)}.{leaf}"] = tensor
            case ["patch_embed", "positional_encoding", "conv_bn", "block", place, leaf]:
                renamed[f"trunk.{_STAGES}.conv.{_PLACES.get(place, place)}.{leaf}"] = tensor
            case ["blocks", block, "attn", "qkv_conv_bn", place, leaf]:
                thirds = [tensor] * 3 if tensor.ndim == 0 else list(tensor.chunk(3))
                for ours, third in zip(("query", "key", "value"), thirds, strict=True):
                    prefix = f"trunk.{_STAGES + 1 + int(block)}.attention.{ours}"
                    renamed[f"{prefix}.{_PLACES.get(place, place)}.{leaf}"] = third
            case ["blocks", block, "attn", "proj_conv_bn", place, leaf]:
                prefix = f"trunk.{_STAGES + 1 + int(block)}.attention.project"
                renamed[f"{prefix}.{_PLACES.get(place, place)}.{leaf}"] = tensor
            case ["blocks", block, "mlp", "fc1" | "fc2" as layer, place, leaf]:
                ours = "expand" if layer == "fc1" else "project"
                prefix = f"trunk.{_STAGES + 1 + int(block)}.mlp.{ours}"
                renamed[f"{prefix}.{_PLACES.get(place, place)}.{leaf}"] = tensor
            case ["head", leaf]:
                renamed[f"head.linear.{leaf}"] = tensor
            case _:
                renamed[name] = tensor
    return renamed
