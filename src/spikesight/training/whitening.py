"""A first convolution that begins by whitening the patches of the training images."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.errors import UserError

_PATCHES = 1 << 17
_NOISE = 5e-4  # keeps directions of no variance finite; a normalisation may amplify them still


@torch.no_grad()
def whiten(model: nn.Module, images: Tensor, accelerator: Accelerator) -> None:
    """Gives the first convolution the principal directions of patches, each with both signs.

    Directions of unit variance are what a network would have to learn first; neurons pass one sign
    only, so each direction comes twice (airbench, arXiv 2404.00498, section 3.2). Filters beyond
    twice the size of a patch keep their random weights. The filters learn like any other.

    Args:
        model: A model with fresh weights.
        images: What it is about to learn from, normalised: [B, C, H, W] or [B, T, C, H, W].
        accelerator: Several processes whiten by the patches of all.

    Raises:
        UserError: If the model's first convolution does not read the image densely.
    """
    convolution = _first_convolution(model, images.shape[-3])
    kernel, stride = convolution.kernel_size, convolution.stride
    windows = F.unfold(images.flatten(0, -4), kernel, stride=stride)
    patches = windows.transpose(1, 2).flatten(0, 1)
    patches = patches[:: 1 + len(patches) // _PATCHES].double()
    covariance = accelerator.reduce(patches.T @ patches / len(patches), "mean")
    variances, directions = torch.linalg.eigh(covariance.cpu())
    filters = (directions / (variances.clamp(min=0) + _NOISE).sqrt()).T.flip(0)
    pairs = min(len(filters), convolution.out_channels // 2)
    pair = torch.cat([filters[:pairs], -filters[:pairs]])
    weight = convolution.weight
    weight[: 2 * pairs] = pair.view(2 * pairs, *weight.shape[1:]).to(weight)


def _first_convolution(model: nn.Module, channels: int) -> nn.Conv2d:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            if module.in_channels == channels and module.groups == 1:
                return module
            break
    raise UserError(
        f"model.whitened asks for a first convolution that reads all {channels} channels of the "
        f"image, which {type(model).__name__} does not have; leave it out"
    )
