"""Pictures of masked-image pre-training."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.utils import make_grid

_SIDE = 96  # pixels that a photo is enlarged to


def draw_reconstructions(photos: Tensor, masked: Tensor, completed: Tensor, path: Path) -> None:
    """Draws three rows: photos, what is visible of them, what a model makes of it.

    Args:
        photos: [B, C, H, W] in 0..1.
        masked: Likewise.
        completed: Likewise.
        path: PNG file to write.
    """
    rows = torch.cat([photos, masked, completed]).cpu()
    larger = interpolate(rows, scale_factor=max(1, _SIDE // rows.shape[-1]), mode="nearest")
    grid = make_grid(larger, nrow=len(photos), padding=4, pad_value=1.0)
    pixels = (grid * 255).round().to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
