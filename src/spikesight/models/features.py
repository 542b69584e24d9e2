"""A trunk that returns its stages' maps, as timm's features_only."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.models.base import Recipe
from spikesight.models.classifier import Classifier
from spikesight.presentation import batch_first

if TYPE_CHECKING:
    from timm.models import FeatureInfo


class StageFeatures(nn.Module):
    """Returns the last map at each resolution, finest first.

    Attributes:
        channels: Channels of each returned map.
        reductions: How many times smaller than the input each returned map is.

    Args:
        model: The model whose trunk is used.
        out_indices: Which of the maps to return; all when omitted.
    """

    def __init__(self, model: Classifier, out_indices: tuple[int, ...] | None = None) -> None:
        super().__init__()
        maps = model.feature_stages()
        out_indices = tuple(range(len(maps))) if out_indices is None else tuple(out_indices)
        wanted = [i % len(maps) for i in out_indices if -len(maps) <= i < len(maps)]
        if not wanted or len(wanted) != len(out_indices):
            raise UserError(
                f"out_indices={out_indices}, but the trunk has maps 0 to {len(maps) - 1}; pass "
                "some of these"
            )
        self.recipe: Recipe
        self.resolved = model.resolved
        self.steps = model.steps
        self.stride = model.stride
        self.presentation = model.presentation
        self.trunk = model.trunk[: maps[max(wanted)][0] + 1]
        self._stage_of_map = [maps[i][0] for i in wanted]
        self.channels = [maps[i][1] for i in wanted]
        self.reductions = [maps[i][2] for i in wanted]
        self._info, self._wanted = model.feature_info, tuple(wanted)

    @cached_property
    def feature_info(self) -> FeatureInfo:
        """What timm says of the maps: `.channels()`, `.reduction()`."""
        from timm.models import FeatureInfo

        return FeatureInfo(self._info, self._wanted)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps [B, C, H, W] (T = 1) or [B, T, C, H, W] of an input as the model takes it."""
        return [batch_first(m, self.steps) for m in self.stage_maps(x)]

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """The same maps time-major, [T*B, C, H, W], for spiking heads."""
        x = self.presentation(x)
        outputs = []
        for stage in self.trunk:
            x = stage(x)
            outputs.append(x)
        return [outputs[i] for i in self._stage_of_map]
