"""What segmenters share: a registered trunk whose maps they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from torch import nn

from spikesight.models.features import StageFeatures
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.variants import take_sizes
from spikesight.registry import create_model

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class SegmenterSizes(DataclassInstance, Protocol):
        """Sizes with a trunk."""

        @property
        def trunk(self) -> str:
            """Name of the registered model."""
            ...


SizesT = TypeVar("SizesT", bound="SegmenterSizes")

DENSE_TRUNK: dict[str, Any] = {"attention_scale": None, "attention_mean": True, "norm_gain": None}
"""Options with which a trunk for 28 to 224 px images starts alive on street photos."""

SMALL_TRUNK: dict[str, Any] = {"strides": (2, 2, 2, 2, 1), **DENSE_TRUNK}
"""The same for the nano and tiny trunks, down to a sixteenth of the photo."""


def take_segmenter_sizes(sizes: SizesT, options: dict[str, Any]) -> tuple[SizesT, dict[str, Any]]:
    """Takes a segmenter's sizes out of the options that `create_model` was given.

    Args:
        sizes: Sizes of the variant, with fields `trunk` and `trunk_options`.
        options: Options by name; loses those that are sizes.

    Returns:
        The variant's sizes, without its trunk's options where another trunk is asked for, and the
        changes to them.

    Raises:
        ValueError: If the maps of the segmenter itself are asked for.
    """
    if options.pop("features_only", False):
        raise ValueError("a segmenter has no features_only form; build its trunk instead")
    changed = take_sizes(sizes, options)
    if changed.get("trunk", sizes.trunk) != sizes.trunk:
        sizes = replace(sizes, trunk_options={})
    return sizes, changed


def build_trunk(
    name: str,
    options: Mapping[str, Any],
    neuron: NeuronChoice,
    in_channels: int,
    drop_path_rate: float,
) -> StageFeatures:
    """A registered model that returns its maps.

    Args:
        name: Its name.
        options: Its further arguments.
        neuron: Its neurons.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of its last block.
    """
    trunk = create_model(
        name,
        in_channels=in_channels,
        features_only=True,
        neuron=neuron.name,
        steps=neuron.steps,
        levels=neuron.levels,
        drop_path_rate=drop_path_rate,
        **options,
    )
    assert isinstance(trunk, StageFeatures)
    return trunk


def trunk_stages(trunk: StageFeatures) -> list[nn.Module]:
    """The trunk's blocks, first to last."""
    return [layer for stage in trunk.trunk.children() for layer in stage.children()]
