"""Whether a model is the one that its recipe describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from spikesight.errors import UserError
from spikesight.neurons import Neuron
from spikesight.neurons.recurrence import Rule
from spikesight.parts import describe_parts, find_part, name_of
from spikesight.private_api import saved_tensors

Rebuild = Callable[[dict[str, Any]], nn.Module]

_REMEDY = (
    "pass neurons of your own to create_model (neuron=), write other changes into a model of your "
    "own (spikesight.register_model), or save its state_dict yourself"
)
_APART = ("training", "recipe", "resolved", "momentum")
"""What does not change an output in evaluation mode."""


def recipe_as_it_is(
    model: nn.Module, recipe: Mapping[str, Any], rebuild: Rebuild
) -> dict[str, Any]:
    """The recipe of a model, also where all of its neurons were swapped for a registered one.

    Args:
        model: The model.
        recipe: With which it was built.
        rebuild: Builds the model of a recipe, its quantisation aside.

    Raises:
        UserError: If the model is not what a recipe builds; names the module that differs.
    """
    kinds = {type(module) for module in model.modules() if isinstance(module, Neuron)}
    name = name_of("neuron", kinds.pop()) if len(kinds) == 1 else None
    if name not in (None, recipe["arguments"].get("neuron")):
        swapped = {**recipe, "arguments": {**recipe["arguments"], "neuron": name}}
        try:
            check_rebuilds(model, swapped, rebuild)
        except UserError:
            pass
        else:
            parts = describe_parts([("neuron", name)])
            return {**swapped, "parts": [*recipe.get("parts", []), *parts]}
    check_rebuilds(model, recipe, rebuild)
    return dict(recipe)


def check_rebuilds(model: nn.Module, recipe: Mapping[str, Any], rebuild: Rebuild) -> None:
    """Refuses a model that would come back as another network.

    Every module is compared with that of a freshly built model: its class, its plain attributes,
    such as a neuron's dynamics, and the shapes of its tensors. Of a quantised model the
    neurons are compared.

    Args:
        model: The model.
        recipe: What is written beside its weights.
        rebuild: Builds the model of a recipe, its quantisation aside.

    Raises:
        UserError: If a module differs; names it.
    """
    neuron = recipe["arguments"].get("neuron")
    if not isinstance(neuron, str | None):
        raise UserError(
            f"the model's neurons are of neuron={neuron!r}, which no saved folder can name; "
            "register it: @spikesight.register_neuron on the class or function that builds it, "
            "and pass its name to create_model"
        )
    described = {key: recipe.get(key) for key in ("name", "arguments", "masked_image")}
    parts = find_part("model", recipe["name"]), find_part("neuron", neuron or "")
    try:
        text = json.dumps(described, sort_keys=True)
    except TypeError as error:
        raise UserError(
            f"the model's arguments cannot be written into config.json ({error}); pass plain "
            "numbers and texts to create_model"
        ) from error
    wanted = _modules_of(text, rebuild, parts)
    found = dict(model.named_modules())
    quantized = "quantization" in recipe
    if not quantized and (extra := sorted(found.keys() - wanted.keys())):
        raise UserError(
            f"{extra[0]} is no part of {recipe['name']} as its arguments build it, so the saved "
            f"folder would load as another network; {_REMEDY}"
        )
    for name, (kind, attributes, tensors, is_neuron) in wanted.items():
        if quantized and not is_neuron:
            continue
        module = found.get(name)
        own = None if module is None else _kind(module)
        if module is None or own != kind:
            raise UserError(
                f"{name or 'the model'} is {own or 'not there'} and {recipe['name']} has {kind} "
                "there as its arguments build it, so the saved folder would load as another "
                f"network; {_REMEDY}"
            )
        changed = _plain_attributes(module)
        for attribute, value in attributes.items():
            if changed.get(attribute) != value:
                raise UserError(
                    f"{name or 'the model'}.{attribute.lstrip('_')} is "
                    f"{changed.get(attribute)!r} and {value!r} in "
                    f"{recipe['name']} as its arguments build it, so the saved folder would load "
                    f"as another network; {_REMEDY}"
                )
        own_tensors = _tensors(module)
        for tensor in sorted(tensors.keys() | own_tensors.keys()):
            if tensors.get(tensor) != own_tensors.get(tensor):
                raise UserError(
                    f"{name or 'the model'} has {_described(tensor, own_tensors.get(tensor))} and "
                    f"{recipe['name']} {_described(tensor, tensors.get(tensor))} there, so the "
                    "saved folder could not be loaded; make pruning and parametrisations permanent "
                    f"(torch.nn.utils.prune.remove), or {_REMEDY}"
                )


@lru_cache(maxsize=8)
def _modules_of(
    described: str, rebuild: Rebuild, parts: tuple[Any, Any]
) -> dict[str, tuple[str, dict[str, Any], dict[str, Any], bool]]:
    """Class, plain attributes, shapes and whether it is a neuron, of a recipe's modules.

    The user's own parts only tell apart what was defined again under the same name.
    """
    recipe = json.loads(described)
    try:
        with torch.device("meta"):
            model = rebuild(recipe)
    except (NotImplementedError, RuntimeError):  # a model of the user's that computes with weights
        with torch.random.fork_rng(devices=[]):
            model = rebuild(recipe)
    return {
        name: (
            _kind(module),
            _plain_attributes(module),
            _tensors(module),
            isinstance(module, Neuron),
        )
        for name, module in model.named_modules()
    }


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _tensors(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a module itself saves."""
    return {name: tuple(tensor.shape) for name, tensor in saved_tensors(module).items()}


def _described(name: str, shape: tuple[int, ...] | None) -> str:
    return f"no {name}" if shape is None else f"a {name} of shape {list(shape)}"


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    return {
        name: _frozen(value)
        for name, value in vars(module).items()
        if name not in _APART and (isinstance(value, Rule) or _is_plain(name, value))
    }


def _is_plain(name: str, value: Any) -> bool:
    if name.startswith("_"):
        return False
    if isinstance(value, tuple | list):
        return all(_is_plain(name, item) for item in value)
    return isinstance(value, bool | int | float | str)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, tuple | list) else value
