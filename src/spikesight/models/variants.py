"""The variants of a family: their sizes, and what the caller changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from spikesight.models.classifier import Classifier
from spikesight.models.features import StageFeatures
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.registry import as_trunk, register_model

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


def register_variants(
    build: Callable[..., Any], variants: Mapping[str, DataclassInstance], /, **trunk_options: Any
) -> None:
    """Registers models of one family, which differ in their sizes alone.

    Args:
        build: Takes sizes, and by keyword what `create_model` was given.
        variants: The sizes by the models' names.
        **trunk_options: What `as_trunk` says of all of them.
    """
    for name, sizes in variants.items():

        def variant(sizes: DataclassInstance = sizes, /, **options: Any) -> Any:
            return build(sizes, **options)

        variant.__name__ = variant.__qualname__ = name
        register_model(as_trunk(**trunk_options)(variant) if trunk_options else variant)


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
