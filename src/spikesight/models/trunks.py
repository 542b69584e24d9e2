"""What segmenters and detectors share: a registered trunk whose maps they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from spikesight.errors import UserError
from spikesight.models.base import SpikingModel
from spikesight.models.features import StageFeatures
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.variants import take_sizes
from spikesight.registry import create_model, trunk_options

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SizesT = TypeVar("SizesT", bound="DataclassInstance")
ModelT = TypeVar("ModelT", bound=SpikingModel)

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


def begin_over_trunk(
    model: SpikingModel,
    sizes: SizesT,
    neuron: NeuronChoice,
    in_channels: int,
    drop_path_rate: float,
) -> tuple[SizesT, float, StageFeatures]:
    """Builds a model's trunk and notes on the model what it was built with.

    Args:
        model: The segmenter or detector; gets its steps and resolved arguments.
        sizes: With a trunk, trunk_options and norm_gain, these two maybe None.
        neuron: Neurons of all parts.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the trunk.

    Returns:
        The sizes as they came out, the initial gain of the normalisations, and the trunk.
    """
    asked: Any = sizes
    gain: float = asked.norm_gain or max(1.0, neuron.probe().levels / 4)
    trunk = build_trunk(asked.trunk, asked.trunk_options, neuron, in_channels, drop_path_rate)
    sizes = replace(sizes, norm_gain=gain, trunk_options=resolved_options(trunk))
    model.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
    model.steps = neuron.steps
    return sizes, gain, trunk


def build_over_trunk(
    family: Callable[..., ModelT], sizes: DataclassInstance, /, **options: Any
) -> ModelT:
    """Builds a variant of a family of segmenters or detectors, of NI-LIF neurons by default.

    Args:
        family: Takes sizes, neurons and the options left.
        sizes: Sizes of the variant.
        **options: What `create_model` was given.
    """
    changed = take_head_sizes(sizes, options)
    neuron, levels = options.pop("neuron", None), options.pop("levels", None)
    choice = NeuronChoice.resolve(neuron, options.pop("steps", 1), levels, "ni_lif")
    return family(replace(sizes, **changed), choice, **options)
