"""How fast a model trains on this machine."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

from spikesight.models.outputs import tensors_of
from spikesight.training.precision import computes_bf16

_PROBE_BATCH = 16
_ASSUMED = 30.0  # images per second; processes of one run must choose alike


def training_images_per_second(
    model: nn.Module, size: tuple[int, int], batch_size: int, device: str = "auto"
) -> float:
    """Times a few forward and backward passes, which takes a second or two.

    Args:
        model: Takes images of three channels; its weights get gradients.
        size: Height and width of the images.
        batch_size: Images of a pass; no more than 16 are used.
        device: "auto" takes a GPU that is there.

    Returns:
        Images per second; a fixed guess where several processes train together.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _ASSUMED
    place = torch.device("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")
    model.to(place).to(memory_format=torch.channels_last).train()
    count = max(2, min(batch_size, _PROBE_BATCH))
    images = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0)).to(place)
    lower = computes_bf16(place)
    for _ in range(2):  # the first time compiles kernels
        began = time.perf_counter()
        with torch.autocast(place.type, dtype=torch.bfloat16, enabled=lower):
            output = model(images.contiguous(memory_format=torch.channels_last))
        learning = (part for part in tensors_of(output) if part.requires_grad)
        loss = sum(part.float().mean() for part in learning)
        assert isinstance(loss, Tensor)
        loss.backward()
        loss.item()  # waits for a GPU
        seconds = time.perf_counter() - began
    return count / seconds
