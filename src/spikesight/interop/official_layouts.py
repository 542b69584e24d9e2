"""Parts of a segmenter that take and return tensors in the authors' layouts.

Ours are time-major maps [T*B, C, H, W], queries along the width.
"""

from __future__ import annotations

from torch import Tensor, nn


class OfficialPart(nn.Module):
    """A part and the layout around it.

    Args:
        part: The part itself.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part


class ChannelsFirst(OfficialPart):
    """Takes [..., C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Runs the part on official input."""
        output: Tensor = self.part(x.reshape(-1, *x.shape[-3:]))
        official: Tensor = output.unflatten(0, x.shape[:-3])
        return official


class ChannelsLast(OfficialPart):
    """Takes [..., H, W, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Runs the part on official input."""
        output: Tensor = self.part(as_channels_first(x))
        return as_channels_last(output, x)


class EitherLayout(OfficialPart):
    """The MLP of the trunk [T, B, C, H, W] or of the encoder [T, B, H, W, C].

    Args:
        part: The MLP.
        channels: Channels, which tell the layout.
        scrambled: What follows the encoder's.
        module: "trunk_mlp" or "encoder_mlp" where the channels do not tell; None otherwise.
    """

    def __init__(
        self, part: nn.Module, channels: int, scrambled: nn.Module, module: str | None
    ) -> None:
        super().__init__(part)
        self.channels = channels
        self.scrambled = scrambled
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Runs the MLP on official input."""
        if self.module == "trunk_mlp" or (self.module is None and x.shape[-3] == self.channels):
            return ChannelsFirst(self.part)(x)  # type: ignore[no-any-return]
        output: Tensor = self.scrambled(self.part(as_channels_first(x)))
        return as_channels_last(output, x)


def as_channels_first(x: Tensor) -> Tensor:
    """[..., H, W, C] to [N, C, H, W]."""
    return x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2)


def as_channels_last(x: Tensor, like: Tensor) -> Tensor:
    """[N, C, H, W] to [..., H, W, C] with the leading dimensions of `like`."""
    official: Tensor = x.permute(0, 2, 3, 1).unflatten(0, like.shape[:-3])
    return official


def as_map(sequence: Tensor) -> Tensor:
    """[..., Q, C] to [N, C, 1, Q]."""
    return sequence.reshape(-1, 1, *sequence.shape[-2:]).permute(0, 3, 1, 2)


def as_sequence(x: Tensor, like: Tensor) -> Tensor:
    """[N, C, 1, Q] to [..., Q, C] with the leading dimensions of `like`."""
    sequence: Tensor = x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, like.shape[:-2])
    return sequence


class QuerySequence(OfficialPart):
    """Takes queries [..., Q, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Runs the part on official input."""
        return as_sequence(self.part(as_map(x)), x)


class QueryAttention(OfficialPart):
    """Takes queries and tokens [T, B, N, C] with positions; returns the branch."""

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
    ) -> Tensor:
        """Runs the attention on official input; without a key on the queries themselves."""
        source = query if key is None else key
        position = query_pos if key is None else key_pos
        content = source if value is None else value
        branch = self.part(
            as_map(query if query_pos is None else query + query_pos),
            as_map(source if position is None else source + position),
            as_map(content),
        )
        return as_sequence(branch, query)


class QueryDecoderLayer(OfficialPart):
    """Takes queries and tokens [T, B, N, C] with positions."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
    ) -> Tensor:
        """Runs the layer on official input."""
        stream = self.part(
            as_map(query),
            as_map(query_pos.expand_as(query)),
            as_map(key + key_pos),
            as_map(value),
        )
        return as_sequence(stream, query)


class TrunkMaps(OfficialPart):
    """Takes the trunk's maps [T, B, C, H, W], finest first."""

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Mask features [T, B, C, H, W] and memories, coarsest first."""
        features, memories = self.part([x.flatten(0, 1) for x in maps])
        lead = maps[0].shape[:2]
        return features.unflatten(0, lead), [m.unflatten(0, lead) for m in memories]
