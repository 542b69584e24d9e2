"""What masked-image pre-training minimises."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, one_hot, pad

from spikesight.models.masked_image.sizes import CELL, DIRECTIONS, Target

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


def gradient_histograms(images: Tensor) -> Tensor:
    """Histograms of oriented gradients in cells of 4 pixels (MaskFeat, arXiv 2112.09133).

    Each channel has its own, of Sobel gradients' directions without their sign, weighted by their
    length and divided by the histogram's norm.

    Args:
        images: [B, C, H, W], sides divisible by 4.

    Returns:
        [B, C * 9, H / 4, W / 4].
    """
    count, channels, height, width = images.shape
    flat = pad(images.float(), (1, 1, 1, 1), mode="reflect").flatten(0, 1)[:, None]
    across = flat.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    dx, dy = conv2d(flat, torch.stack([across, across.T])[:, None]).unbind(1)
    turn = torch.atan2(dy, dx) / math.pi * DIRECTIONS
    bins = one_hot(turn.floor().long() % DIRECTIONS, DIRECTIONS).permute(0, 3, 1, 2)
    histograms = avg_pool2d(bins * (dx.square() + dy.square()).sqrt()[:, None], CELL)
    histograms = torch.nn.functional.normalize(histograms, dim=1)
    return histograms.reshape(count, channels * DIRECTIONS, height // CELL, width // CELL)


def reconstruction_loss(
    patches: Tensor, visible: Tensor, images: Tensor, side: int, target: Target = "pixels"
) -> Tensor:
    """Mean squared error of hidden patches, each normalised by its own mean and deviation.

    MAE's target (arXiv 2111.06377). A guess of zero everywhere, which is every patch's mean, costs
    1, but for patches of a single colour. Colours are not normalised; of images of deviation 1 a
    guess of zero costs 1 too.

    Args:
        patches: Guesses [B, h*w, P].
        visible: Boolean [B, h, w]; what was visible costs nothing.
        images: The whole images [B, C, H, W].
        side: Side of a patch in pixels.
        target: "pixels"; "gradients" for their histograms, normalised likewise; or "colours".

    Returns:
        Loss of each image, [B].
    """
    if target == "gradients":
        wanted = to_patches(gradient_histograms(images), side // CELL)
    else:
        wanted = to_patches(images, side).float()
    if target != "colours":
        mean, deviation = patch_statistics(wanted)
        wanted = (wanted - mean) / deviation
    error = (patches.float() - wanted).square().mean(-1)
    hidden = (~visible).flatten(1)
    return (error * hidden).sum(1) / hidden.sum(1)
