"""The registered models, by what a test of all of them can afford; exceptions are named."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.objects import Objects

MODELS = ss.list_models()
NANO = [name for name in MODELS if name.endswith("_nano")]
"""The smallest of each family."""
SMALL = [name for name in MODELS if name.endswith(("_nano", "_tiny", "_small"))]
SEGMENTERS = {
    "mask_rcnn_*": "a detector has tests of its own",
    "semantic_fpn_*": "a segmenter has tests of its own",
    "spike2former_*": "a segmenter has tests of its own",
    "spike_det_*": "a detector has tests of its own",
    "spike_fpn_*": "a segmenter has tests of its own",
}
"""Exceptions for `without`."""


def without(names: list[str], reasons: Mapping[str, str]) -> list[str]:
    """The names that match none of the patterns, each of which says why it is left out."""
    for pattern, reason in reasons.items():
        assert fnmatch.filter(names, pattern), f"{pattern} leaves nothing out"
        assert reason
    return [name for name in names if not any(fnmatch.fnmatch(name, p) for p in reasons)]


def tensors(output: Any) -> Iterator[Tensor]:
    """All tensors of what a model returns, whatever its task."""
    if isinstance(output, Tensor):
        yield output
    elif is_dataclass(output):
        for field in fields(output):
            yield from tensors(getattr(output, field.name))
    elif isinstance(output, tuple | list):
        for part in output:
            yield from tensors(part)
    elif isinstance(output, dict):
        yield from tensors(list(output.values()))


def told(model: nn.Module, x: Tensor) -> tuple[Any, ...]:
    """What a model must be told in training besides its input: a square object in every image."""
    if not isinstance(model, ss.SpikingModel) or model.gives != "instances":
        return ()
    masks = torch.zeros(1, *x.shape[-2:], dtype=torch.bool)
    masks[:, 4:20, 8:24] = True
    one = Objects(
        torch.tensor([[8.0, 4.0, 24.0, 20.0]]), torch.tensor([1]), torch.tensor([False]), masks
    )
    return ([one] * len(x),)
