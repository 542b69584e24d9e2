"""What segmenters and detectors share: a registered trunk whose maps they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from spikesight.errors import UserError
from spikesight.models.features import StageFeatures
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.variants import take_sizes
from spikesight.registry import create_model, trunk_options

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SizesT = TypeVar("SizesT", bound="DataclassInstance")

_NOT_THE_TRUNKS = {
    *("num_classes", "in_channels", "features_only", "drop_path_rate"),
    *("neuron", "neuron_arguments", "steps", "levels"),
}


def take_head_sizes(sizes: SizesT, options: dict[str, Any]) -> dict[str, Any]:
    """Takes the sizes of a segmenter or detector out of what `create_model` was given.

    Args:
        sizes: Sizes of the variant.
        options: Options by name; loses those that are sizes.

    Returns:
        The changes to the sizes.

    Raises:
        UserError: If the maps of the model itself are asked for.
    """
    if options.pop("features_only", False):
        raise UserError("a model over a trunk has no features_only form; build its trunk instead")
    return take_sizes(sizes, options)


def build_trunk(
    name: str,
    options: Mapping[str, Any] | None,
    neuron: NeuronChoice,
    in_channels: int,
    drop_path_rate: float,
) -> StageFeatures:
    """A registered model that returns its maps.

    Args:
        name: Its name.
        options: Its further arguments; None for those that the registry knows.
        neuron: Its neurons.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of its last block.

    Raises:
        UserError: If the model has no such form.
    """
    trunk = create_model(
        name,
        in_channels=in_channels,
        features_only=True,
        neuron=neuron.name,
        neuron_arguments=neuron.arguments,
        steps=neuron.steps,
        levels=neuron.levels,
        drop_path_rate=drop_path_rate,
        **(trunk_options(name) if options is None else options),
    )
    if not isinstance(trunk, StageFeatures):
        raise UserError(
            f"{name} gives no maps with features_only=True, which a head reads; let its "
            "builder return StageFeatures, or pass another trunk"
        )
    return trunk


def resolved_options(trunk: StageFeatures) -> dict[str, Any]:
    """The further arguments of a trunk as they came out, for the recipe of what reads it."""
    options = {**trunk.recipe["arguments"], **trunk.resolved}
    return {name: value for name, value in options.items() if name not in _NOT_THE_TRUNKS}
