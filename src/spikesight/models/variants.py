"""A variant of a family: its sizes, and what the caller changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from spikesight.models.classifier import Classifier
from spikesight.models.features import StageFeatures
from spikesight.models.neuron_choice import NeuronChoice

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SizesT = TypeVar("SizesT", bound="DataclassInstance")
ModelT = TypeVar("ModelT", bound=Classifier)


def take_sizes(sizes: SizesT, options: dict[str, Any]) -> dict[str, Any]:
    """Takes a family's sizes out of the options that `create_model` was given.

    Args:
        sizes: Sizes of the variant, a dataclass.
        options: Options by name; loses those that are sizes.

    Returns:
        The changes to the sizes.
    """
    return {f.name: options.pop(f.name) for f in fields(sizes) if f.name in options}


def build_classifier(
    family: Callable[..., ModelT], sizes: SizesT, /, **options: Any
) -> ModelT | StageFeatures:
    """Builds a variant of a family of classifiers, or its trunk.

    Args:
        family: Takes sizes, neurons and the options left.
        sizes: Sizes of the variant.
        **options: What `create_model` was given: neuron, steps, levels, features_only, out_indices,
            sizes by name, and the rest for the family.
    """
    features_only = options.pop("features_only", False)
    out_indices = options.pop("out_indices", None)
    neuron = NeuronChoice.resolve(
        options.pop("neuron", None), options.pop("steps", 1), options.pop("levels", None)
    )
    model = family(replace(sizes, **take_sizes(sizes, options)), neuron, **options)
    return StageFeatures(model, out_indices) if features_only else model
