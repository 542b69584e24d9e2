"""Blocks that take and return tensors in the authors' layouts.

Ours are time-major maps [T*B, C, H, W], queries along the width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Layout = Callable[..., Any]
"""Calls a block, its first argument, on official inputs."""


class OfficialBlock(nn.Module):
    """A block and the layout around it.

    Args:
        part: The block itself.
        layout: Calls it.
    """

    def __init__(self, part: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.part = part
        self._layout = layout

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Runs the block on official input."""
        return self._layout(self.part, *inputs, **named)


def channels_first(part: nn.Module, x: Tensor) -> Tensor:
    """Takes [T, B, C, H, W], or what the part takes."""
    if x.ndim < 5:
        output: Tensor = part(x)
        return output
    official: Tensor = part(x.flatten(0, -4)).unflatten(0, x.shape[:-3])
    return official


def channels_last(part: nn.Module, x: Tensor) -> Tensor:
    """Takes [..., H, W, C]."""
    output: Tensor = part(x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2))
    official: Tensor = output.permute(0, 2, 3, 1).unflatten(0, x.shape[:-3])
    return official


def queries(part: nn.Module, x: Tensor) -> Tensor:
    """Takes [..., Q, C]."""
    return _as_sequence(part(_as_map(x)), x)


def attention(
    part: nn.Module,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    query_pos: Tensor | None = None,
    key_pos: Tensor | None = None,
) -> Tensor:
    """Takes queries and tokens [T, B, N, C] with positions; without a key, queries alone."""
    source = query if key is None else key
    position = query_pos if key is None else key_pos
    branch = part(
        _as_map(query if query_pos is None else query + query_pos),
        _as_map(source if position is None else source + position),
        _as_map(source if value is None else value),
    )
    return _as_sequence(branch, query)


def decoder_layer(
    part: nn.Module, query: Tensor, key: Tensor, value: Tensor, query_pos: Tensor, key_pos: Tensor
) -> Tensor:
    """Takes queries and tokens [T, B, N, C] with positions."""
    position = query_pos.expand_as(query)
    stream = part(_as_map(query), _as_map(position), _as_map(key + key_pos), _as_map(value))
    return _as_sequence(stream, query)


def pyramid(part: nn.Module, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Takes a trunk's maps [T, B, C, H, W], finest first; returns features and memories."""
    features, memories = part([x.flatten(0, 1) for x in maps])
    lead = maps[0].shape[:2]
    return features.unflatten(0, lead), [m.unflatten(0, lead) for m in memories]


def _as_map(sequence: Tensor) -> Tensor:
    """[..., Q, C] to [N, C, 1, Q]."""
    return sequence.reshape(-1, 1, *sequence.shape[-2:]).permute(0, 3, 1, 2)


def _as_sequence(x: Tensor, like: Tensor) -> Tensor:
    """[N, C, 1, Q] to [..., Q, C] with the leading dimensions of `like`."""
    sequence: Tensor = x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, like.shape[:-2])
    return sequence
