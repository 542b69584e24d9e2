"""A batch normalisation in evaluation mode, as the affine map that it is."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.errors import UserError


def gain_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalisation multiplies [C] and then adds [C], by its running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise UserError(
            f"{norm} keeps no running statistics, so what it computes depends on the batch; "
            "leave out track_running_stats=False"
        )
    gain = (norm.running_var + norm.eps).rsqrt()
    if not norm.affine:
        return gain, -norm.running_mean * gain
    gain = norm.weight * gain
    return gain, norm.bias - norm.running_mean * gain
