"""Checkpoints of MS-QKFormer, from bic-L/MaxFormer: ImageNet, CIFAR and events, and its blocks."""

from __future__ import annotations

from torch import nn

from spikesight.files.ranges import Levels, Steps, Width
from spikesight.interop.filling import StateDict
from spikesight.interop.maxformer import Family, Settings, load, synapses

_STEM = synapses({"proj": "entry.conv1", "rpe": "shortcut.conv"}) | {
    f"proj_{place}{i}": f"path.conv{i}.{child}"
    for i in (1, 2)
    for place, child in (("conv", "conv"), ("bn", "norm"))
}
_EMBEDDING = synapses({"proj3": "path.conv1", "proj4": "path.conv2", "proj_res": "shortcut.conv"})
FAMILY = Family(
    "ms_qkformer",
    stems=(("pooled", _STEM), *Family.stems),
    embeddings=(("first", _EMBEDDING), *Family.embeddings),
)


def load_ms_qkformer(
    state_dict: StateDict,
    *,
    num_heads: Width | None = None,
    steps: Steps | None = None,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: float = 0.125,
) -> nn.Module:
    """Builds the MS-QKFormer, or the block of one, that a state dict of the authors belongs to.

    The form (ImageNet, CIFAR, events) is read off the names.
    """
    settings = Settings(num_heads, steps, neuron, levels, attention_scale)
    return load(FAMILY, state_dict, settings)
