"""How an input is presented to a network over time, and how its outputs are read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.memory_format import is_channels_last

_LARGEST_STRIDE = 1024


def as_batch(x: Tensor) -> Tensor:
    """Inputs as networks take them: floating point, with an axis for the batch.

    Args:
        x: Images [B, C, H, W] or frames [B, T, C, H, W]; of whole numbers these are counts of
            events, and [T, C, H, W] is one recording, as `event_frames` gives it.

    Returns:
        What is in floating point as it is; counts in float32 [B, T, C, H, W].

    Raises:
        UserError: If the numbers are whole ones but seem to be photos.
    """
    if x.is_floating_point() or x.ndim not in (4, 5):
        return x
    if x.ndim == 4 and x.dtype == torch.uint8 and x.shape[1] != 2:
        raise UserError(
            f"input holds bytes of shape {tuple(x.shape)}; normalise photos "
            "(preprocessing.batch_transform), and give frames of events a batch axis with x[None]"
        )
    return (x[None] if x.ndim == 4 else x).to(torch.float32)


def present(x: Tensor, steps: int) -> Tensor:
    """Shows an input at every time step.

    Args:
        x: An image [B, C, H, W], shown T times, or a sequence [B, T, C, H, W], shown frame by
            frame.
        steps: Time steps T.

    Returns:
        Time-major [T*B, C, H, W].
    """
    if x.ndim == 5:
        return x.transpose(0, 1).flatten(0, 1)
    return x if steps == 1 else x.repeat(steps, 1, 1, 1)


def batch_first(x: Tensor, steps: int) -> Tensor:
    """What networks compute, as they are given it; the inverse of `present`.

    Args:
        x: Time-major [T*B, ...].
        steps: Time steps T.

    Returns:
        [B, ...] (T = 1) or [B, T, ...].
    """
    return x if steps == 1 else x.unflatten(0, (steps, -1)).transpose(0, 1)


def check_input(shape: tuple[int, ...], steps: int, channels: int, stride: int) -> None:
    """Raises UserError when a network cannot take an input of this shape.

    Args:
        shape: Shape of the input.
        steps: Time steps T of the network.
        channels: Channels that it expects.
        stride: What height and width must be divisible by.
    """
    if len(shape) not in (4, 5):
        raise UserError(
            f"input has shape {shape}; expected [B, C, H, W] or [B, T, C, H, W]: "
            "add the batch dimension with x[None]"
        )
    if len(shape) == 5 and shape[1] != steps:
        raise UserError(
            f"input has {shape[1]} time steps but the model has {steps}; "
            f"create the model with steps={shape[1]}"
        )
    given, height, width = shape[-3:]
    if given != channels:
        raise UserError(
            f"input has {given} channels but the model takes {channels}; "
            f"create the model with in_channels={given}"
        )
    down, right = -height % stride, -width % stride
    if down or right:
        raise UserError(
            f"input of {height}x{width} pixels is not divisible by the stride {stride}; "
            f"pad it with torch.nn.functional.pad(x, (0, {right}, 0, {down})) or resize it"
        )


class Presentation(nn.Module):
    """Presents an input to the network at every time step.

    A static image [B, C, H, W] is shown T times (direct encoding); a sequence [B, T, C, H, W] is
    shown frame by frame. Counts of events are taken as `event_frames` gives them.

    Args:
        steps: Time steps T.
        channels: Channels that the network expects.
        stride: What height and width must be divisible by.
    """

    def __init__(self, steps: int, channels: int, stride: int) -> None:
        super().__init__()
        if stride > _LARGEST_STRIDE:
            raise UserError(
                f"strides or patch shrink images {stride} times; pass ones that make at most "
                f"{_LARGEST_STRIDE}"
            )
        self.steps = steps
        self.channels = channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] or [B, T, C, H, W], or counts of events, to time-major [T*B, C, H, W]."""
        x = as_batch(x)
        self.check(tuple(x.shape))
        return present(x, self.steps)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises UserError when the network cannot take an input of this shape."""
        check_input(shape, self.steps, self.channels, self.stride)


class GlobalPool(nn.Module):
    """Mean over the pixels: [N, C, H, W] to [N, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Pools x [N, C, H, W] to [N, C]; its gradient has the memory format of x."""
        if is_channels_last(x):
            return x.permute(0, 2, 3, 1).mean((1, 2))
        return x.mean((-2, -1))


class Readout(nn.Module):
    """Mean of the output over time: [T*B, K] to [B, K].

    Args:
        steps: Time steps T.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """Averages x [T*B, K] over T."""
        return x if self.steps == 1 else x.unflatten(0, (self.steps, -1)).mean(0)


class QueryReadout(Readout):
    """Mean over time of what queries say: [T*B, K, 1, Q] to [B, Q, K]."""

    def forward(self, x: Tensor) -> Tensor:
        """Averages x [T*B, K, 1, Q] over T."""
        return super().forward(x).squeeze(2).transpose(1, 2)
