"""Checkpoints of MS-QKFormer, from bic-L/MaxFormer: ImageNet, CIFAR and events, and its blocks."""

from __future__ import annotations

from torch import nn

from spikesight.files.ranges import Levels, Positive, Steps, Width
from spikesight.interop.filling import StateDict
from spikesight.interop.maxformer import Settings, load


def load_ms_qkformer(
    state_dict: StateDict,
    *,
    num_heads: Width | None = None,
    steps: Steps | None = None,
    neuron: str = "lif",
    levels: Levels | None = None,
    attention_scale: Positive = 0.125,
) -> nn.Module:
    """Builds the MS-QKFormer, or the block of one, that a state dict of the authors belongs to.

    The form (ImageNet, CIFAR, events) is read off the names.
    """
    settings = Settings(num_heads, steps, neuron, levels, attention_scale)
    return load("ms_qkformer", state_dict, settings)
