"""Checkpoints of ZK-Zhou/spikformer and of SpikingJelly's Spikformer."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Positive, Steps, Width
from spikesight.interop.block_names import PROJECTIONS, conv_norms
from spikesight.interop.filling import (
    StateDict,
    block_indices,
    load_tensors,
    rename,
    variant_of,
    within,
    without_wrapper,
)
from spikesight.models.spikformer import SpikformerSizes
from spikesight.registry import create_model

_STAGES = 4
_TOLD = ("width", "depth", "heads", "strides", "stem", "mlp_ratio", "qkv_bias", "bias")
_MAPS = {
    **{f"attn.{short}": f"attention.{name}" for short, name in PROJECTIONS},
    "mlp.fc1": "mlp.expand",
    "mlp.fc2": "mlp.project",
}
_PLACES = {"conv": "conv", "linear": "conv", "bn": "norm"}
_RELEASED_BLOCK = {
    "norm1": "unread_norm1",
    "norm2": "unread_norm2",
    **{f"{t}_{p}": f"{o}.{c}" for t, o in _MAPS.items() for p, c in _PLACES.items()},
}
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
    attention_scale: Positive | None = None,
    strides: tuple[int, ...] | None = None,
) -> nn.Module:
    """Builds the Spikformer that a state dict of the authors or of SpikingJelly belongs to.

    The form (ImageNet, CIFAR, CIFAR10-DVS or SpikingJelly's) is read off the names and shapes.
    LayerNorms and the position embedding, which the released modules never read, come along
    frozen, so that every tensor has its place. SpikingJelly's module returns logits for every time
    step; this model returns their mean.
    """
    state = without_wrapper(state_dict)
    form = _form(state)
    head_dim, scale, usual_steps, usual_strides = _FORMS[form]
    jelly = form == "spikingjelly"
    if jelly:
        state = _in_thirds(state)
    renamed = rename(state, _spikingjelly_names(state) if jelly else released_names(state))
    width, in_channels = _width_and_input(renamed)
    first = f"trunk.{_STAGES + 1}."
    position = state.get("pos_embed")
    sizes = vars(
        SpikformerSizes(
            width=width,
            depth=len({name.split(".")[1] for name in renamed if ".mlp." in name}),
            heads=num_heads or max(width // head_dim, 1),
            strides=strides or usual_strides,
            mlp_ratio=renamed[f"{first}mlp.expand.conv.weight"].shape[0] // width,
            attention_scale=scale if attention_scale is None else attention_scale,
            qkv_bias=f"{first}attention.query.conv.bias" in renamed,
            bias=f"{first}mlp.expand.conv.bias" in renamed,
            pool_of="currents" if jelly else "spikes",
            layer_norms=f"{first}unread_norm1.weight" in renamed,
            position_tokens=0 if position is None else position.shape[1],
        )
    )
    model: nn.Module = create_model(
        variant_of("spikformer", sizes, _TOLD),
        num_classes=renamed["head.linear.weight"].shape[0],
        in_channels=in_channels,
        steps=steps or usual_steps,
        levels=levels,
        neuron=neuron,
        **sizes,
    )
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


def _width_and_input(renamed: StateDict) -> tuple[int, int]:
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


def released_names(state: StateDict) -> dict[str, str]:
    """How the tensors of the authors' code are called here."""
    names = {"pos_embed": "unread_position", "norm": "unread_norm", "head": "head.linear"}
    for position, stage in enumerate(("proj_{}", "proj_{}1", "proj_{}2", "proj_{}3", "rpe_{}")):
        for place in ("conv", "bn"):
            ours = f"trunk.{position}.conv.{_PLACES[place]}"
            names[f"patch_embed.{stage.format(place)}"] = ours
    for i in block_indices(state, "block"):
        names |= within(f"block.{i}", f"trunk.{_STAGES + 1 + i}", _RELEASED_BLOCK)
    return names


def _spikingjelly_names(state: StateDict) -> dict[str, str]:
    """How the tensors of SpikingJelly's code are called here, its joint map as three."""
    stem = [*(f"stages.{i}" for i in range(_STAGES)), "positional_encoding"]
    parts = {f"patch_embed.{s}.conv_bn.block": f"trunk.{i}.conv" for i, s in enumerate(stem)}
    for i in block_indices(state, "blocks"):
        parts |= within(f"blocks.{i}", f"trunk.{_STAGES + 1 + i}", _MAPS)
    return {"head": "head.linear", **conv_norms(parts)}


def _in_thirds(state: StateDict) -> dict[str, Tensor]:
    """SpikingJelly's tensors by shorter names, its joint map of query, key and value as three."""
    apart: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = name.replace(".attn.proj_conv_bn.", ".attn.proj.")
        joint = ".attn.qkv_conv_bn." in name
        thirds = list(tensor.chunk(3)) if joint and tensor.ndim else [tensor] * 3
        for short, third in zip("qkv" if joint else [""], thirds, strict=False):
            apart[name.replace("qkv_conv_bn", short)] = third
    return apart
