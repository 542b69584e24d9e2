"""What masked-image pre-training minimises."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-6


def to_patches(images: Tensor, side: int) -> Tensor:
    """Cuts images [B, C, H, W] into patches [B, h*w, C * side^2], row by row."""
    cut = torch.nn.functional.pixel_unshuffle(images, side)
    return cut.flatten(2).transpose(1, 2)


def from_patches(patches: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Puts patches [B, h*w, C * side^2] together to images [B, C, H, W].

    Args:
        patches: As `to_patches` gives them.
        side: Side of a patch in pixels.
        grid: Patches along height and width.
    """
    return torch.nn.functional.pixel_shuffle(patches.transpose(1, 2).unflatten(2, grid), side)


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [B, h*w, 1] of each patch's values.

    Args:
        patches: [B, h*w, P].
    """
    mean = patches.mean(-1, keepdim=True)
    variance = patches.var(-1, correction=0, keepdim=True)
    return mean, (variance + _EPSILON).sqrt()


def reconstruction_loss(patches: Tensor, visible: Tensor, images: Tensor, side: int) -> Tensor:
    """Mean squared error of hidden patches, each normalised by its own mean and deviation.

    MAE's target (arXiv 2111.06377). A guess of zero everywhere, which is every patch's mean, costs
    1, but for patches of a single colour.

    Args:
        patches: Guessed pixels [B, h*w, P].
        visible: Boolean [B, h, w]; what was visible costs nothing.
        images: The whole images [B, C, H, W].
        side: Side of a patch in pixels.

    Returns:
        Loss of each image, [B].
    """
    wanted = to_patches(images, side).float()
    mean, deviation = patch_statistics(wanted)
    error = (patches.float() - (wanted - mean) / deviation).square().mean(-1)
    hidden = (~visible).flatten(1)
    return (error * hidden).sum(1) / hidden.sum(1)
