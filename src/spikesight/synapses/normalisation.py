"""A batch normalisation in evaluation mode, as the affine map that it is."""

from __future__ import annotations

from torch import Tensor, nn


def gain_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalisation multiplies [C] and then adds [C], by its running statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return gain, norm.bias - norm.running_mean * gain
