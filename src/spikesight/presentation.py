"""How an input is presented to a network over time, whatever form the network has."""

from __future__ import annotations

from torch import Tensor


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


def check_input(shape: tuple[int, ...], steps: int, channels: int, stride: int) -> None:
    """Raises ValueError when a network cannot take an input of this shape.

    Args:
        shape: Shape of the input.
        steps: Time steps T of the network.
        channels: Channels that it expects.
        stride: What height and width must be divisible by.
    """
    if len(shape) not in (4, 5):
        raise ValueError(
            f"input has shape {shape}; expected [B, C, H, W] or [B, T, C, H, W]: "
            "add the batch dimension with x[None]"
        )
    if len(shape) == 5 and shape[1] != steps:
        raise ValueError(
            f"input has {shape[1]} time steps but the model has {steps}; "
            f"create the model with steps={shape[1]}"
        )
    given, height, width = shape[-3:]
    if given != channels:
        raise ValueError(
            f"input has {given} channels but the model takes {channels}; "
            f"create the model with in_channels={given}"
        )
    down, right = -height % stride, -width % stride
    if down or right:
        raise ValueError(
            f"input of {height}x{width} pixels is not divisible by the stride {stride}; "
            f"pad it with torch.nn.functional.pad(x, (0, {right}, 0, {down})) or resize it"
        )
