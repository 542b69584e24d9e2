"""Small integer networks, each made once."""

from __future__ import annotations

import functools
from typing import Any

import torch

import spikesight as ss
from spikesight.graph import integer_vocabulary as integer
from tests.conftest import wake


@functools.cache
def _network(size: int, options: tuple[tuple[str, Any], ...]) -> integer.Graph:
    torch.manual_seed(0)
    chosen = {"name": "metaspikformer_nano", **dict(options)}
    model = ss.create_model(chosen.pop("name"), num_classes=5, **chosen)
    x = torch.rand(4, 3, size, size) * 4 - 1
    return ss.deploy(wake(model, x), x).graph


def deployed(size: int, **options: Any) -> integer.Graph:
    """The network of `create_model`'s options on random images of a size."""
    return _network(size, tuple(options.items()))
