"""Checkpoints of xyshi2000/SpikingResformer."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from spikesight.attention import DualSpikeSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Levels, Side, Steps
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
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.spikingresformer import GroupWiseFeedForward, SpikingResformerSizes
from spikesight.neurons import ConfiguredNeuron
from spikesight.registry import create_model

_TOLD = ("widths", "heads", "depths", "patches", "prologue", "mlp_ratio", "group_size")
_LEARNED_DECAY = ".w"
_POOLED_KERNEL = 7
_STEPS, _GESTURE_STEPS = 4, 16

# The names of `with_keys_apart`.
ATTENTION = {
    "activation_in": "neuron",
    "W_key": "key.conv",
    "norm_key.bn": "key.norm",
    "W_value": "value.conv",
    "norm_value.bn": "value.norm",
    "firing_rate_x": "map_product.rate.running_mean",
    "activation_attn": "map_neuron",
    "firing_rate_attn": "product.rate.running_mean",
    "activation_out": "attention_neuron",
    "Wproj": "project.conv",
    "norm_proj.bn": "project.norm",
}
FEED_FORWARD = {
    "up.0": "neuron1",
    "up.1": "expand.conv",
    "up.2.bn": "expand.norm",
    "conv.0.0": "neuron2",
    "conv.0.1": "mix.conv",
    "conv.0.2.bn": "mix.norm",
    "down.0": "neuron3",
    "down.1": "project.conv",
    "down.2.bn": "project.norm",
}
_SHARED = re.compile(r"(.*\.|)(W|norm)(\..*)")
_DOWN_SAMPLING = {"activation": "neuron", "conv": "conv.conv", "norm.bn": "conv.norm"}


def load_spikingresformer(
    state_dict: StateDict,
    *,
    steps: Steps | None = None,
    neuron: str = "lif",
    levels: Levels | None = None,
    img_size: Side | None = None,
) -> nn.Module:
    """Builds the model, or the lone attention or feed-forward part, of the authors' state dict.

    Neurons that learned how they decay (the Gesture model's) are known by their `w`. Logits are the
    mean over time. With img_size the attention is scaled as for images of that side (maps of a lone
    attention), whatever it is given, as the authors do; without, as for those that it is given.
    """
    state = without_wrapper(state_dict)
    state = with_keys_apart(state, state)
    learned = any(name.endswith(_LEARNED_DECAY) for name in state)
    steps = steps or (_GESTURE_STEPS if learned else _STEPS)
    arguments: dict[str, Any] = {}
    if neuron == "lif":
        arguments = {"surrogate": "arctan", **({"learnable_tau": True} if learned else {})}
    if "W_key.weight" in state or "up.1.weight" in state:
        choice = NeuronChoice.resolve(ConfiguredNeuron(neuron, arguments), steps, levels)
        return _lone_part(state, choice, img_size)
    found = vars(_sizes(state, img_size))
    model: nn.Module = create_model(
        variant_of("spikingresformer", found, _TOLD),
        num_classes=len(state["classifier.weight"]),
        in_channels=state["prologue.0.weight"].shape[1],
        steps=steps,
        levels=levels,
        neuron=neuron,
        neuron_arguments=arguments or None,
        **found,
    )
    load_tensors(model, rename(state, _with_decay(released_names(state))), "SpikingResformer")
    return model.eval()


def with_keys_apart(tensors: StateDict, state_dict: StateDict) -> dict[str, Tensor]:
    """The tensors of keys and of values each by itself; the authors make both by one convolution.

    Its channels are, head by head, those of the keys and then those of the values.

    Args:
        tensors: By the authors' names, such as a state dict or its gradients.
        state_dict: The state dict, which tells the number of heads.
    """
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = _SHARED.fullmatch(name)
        rates = state_dict.get(f"{found[1]}firing_rate_x") if found else None
        if found is None or rates is None or (tensor.ndim and len(tensor) % (2 * rates.numel())):
            apart[name] = tensor
            continue
        start, module, rest = found.groups()
        for position, part in enumerate(("key", "value")):
            own = tensor
            if tensor.ndim:
                own = tensor.unflatten(0, (rates.numel(), 2, -1))[:, position].flatten(0, 1)
            apart[f"{start}{module}_{part}{rest}"] = own
    return apart


def _sizes(state: StateDict, img_size: int | None) -> SpikingResformerSizes:
    for name in ("prologue.0", "layers.0.0.W_key", "layers.0.1.up.1", "classifier"):
        if f"{name}.weight" not in state:
            raise UserError(
                "the state dict is not SpikingResformer's: it has no "
                f"{name.removesuffix('_key')}.weight; it has "
                f"{', '.join(list(state)[:5])}, ..."
            )
    firsts = [
        part_of(state, f"layers.{stage}.{min(stage, 1)}.")
        for stage in block_indices(state, "layers")
    ]
    wide = state["layers.0.1.up.1.weight"]
    pooled = state["prologue.0.weight"].shape[-1] == _POOLED_KERNEL
    return SpikingResformerSizes(
        widths=tuple(first["W_key.weight"].shape[1] for first in firsts),
        heads=tuple(first["firing_rate_x"].numel() for first in firsts),
        depths=tuple(
            len(block_indices(state, f"layers.{stage}")) // 2 for stage in range(len(firsts))
        ),
        patches=tuple(first["W_key.weight"].shape[-1] for first in firsts),
        prologue="pooled" if pooled else "flat",
        mlp_ratio=wide.shape[0] // wide.shape[1],
        group_size=state["layers.0.1.conv.0.1.weight"].shape[1],
        image_size=img_size,
    )


def _lone_part(state: StateDict, neuron: NeuronChoice, side: int | None) -> nn.Module:
    part: nn.Module
    if "W_key.weight" in state:
        channels, _, _, patch = state["W_key.weight"].shape
        keys = None if side is None else (side // patch) ** 2
        heads = state["firing_rate_x"].numel()
        part, names = (
            DualSpikeSelfAttention(channels, heads, patch, neuron.build, keys=keys),
            ATTENTION,
        )
    else:
        hidden, channels = state["up.1.weight"].shape[:2]
        group_size = state["conv.0.1.weight"].shape[1]
        part, names = GroupWiseFeedForward(channels, hidden, group_size, neuron), FEED_FORWARD
    load_tensors(part, rename(state, _with_decay(names)), "SpikingResformer")
    return OfficialBlock(part, _with_shortcut).eval()


def _with_decay(names: Names) -> dict[str, str]:
    """The names, those of a neuron for what it learns: 1 / tau is the sigmoid of w."""
    neurons = {theirs: ours for theirs, ours in names.items() if "neuron" in ours.split(".")[-1]}
    return {**names, **{f"{theirs}.w": f"{ours}.decay" for theirs, ours in neurons.items()}}


def released_names(state: StateDict) -> dict[str, str]:
    """How the tensors and neurons of the authors' code are called here."""
    names = {
        "prologue.0": "trunk.0.0.conv",
        "prologue.1.bn": "trunk.0.0.norm",
        "classifier": "head.linear",
    }
    for stage in block_indices(state, "layers"):
        theirs, ours = f"layers.{stage}", f"trunk.{stage + 1}"
        after_down_sampling = min(stage, 1)
        if after_down_sampling:
            names |= within(f"{theirs}.0", f"{ours}.0", _DOWN_SAMPLING)
        for index in block_indices(state, theirs)[after_down_sampling:]:
            block, is_second = divmod(index - after_down_sampling, 2)
            place = f"{ours}.{block + after_down_sampling}"
            if is_second:
                names |= within(f"{theirs}.{index}", f"{place}.mlp", FEED_FORWARD)
            else:
                names |= within(f"{theirs}.{index}", f"{place}.attention", ATTENTION)
    return names


def _with_shortcut(part: nn.Module, x: Tensor) -> Tensor:
    """Takes [T, B, C, H, W] and adds the branch to it, as the authors' modules do."""
    return x + channels_first(part, x)
