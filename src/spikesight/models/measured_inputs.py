"""What was measured of a loaded model's real inputs, and whether it still is that model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class MeasuredInputs:
    """What calibration.safetensors held beside a model's weights.

    Attributes:
        tensors: What was measured, by name.
        model: Digest of the model that it was measured with.
    """

    tensors: Mapping[str, Tensor]
    model: str


def digest_model(recipe: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """SHA-256 of what a model computes; the same on every device and for every wider float type.

    Args:
        recipe: What builds it.
        state: Its parameters and buffers.
    """
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        numbers = tensor.detach().cpu()
        numbers = numbers.float() if numbers.is_floating_point() else numbers
        digest.update(f"{name} {list(tensor.shape)} {numbers.dtype}".encode())
        digest.update(numbers.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
