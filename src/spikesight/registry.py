"""Models by name, shared with timm's registry."""

from __future__ import annotations

import copy
import fnmatch
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from spikesight import timm_entries
from spikesight.errors import UserError, is_wrong_call
from spikesight.files.ranges import Levels, Rate, Steps, Width
from spikesight.neurons.presets import ConfiguredNeuron, NeuronLike, neuron_argument_names
from spikesight.options import check_arguments
from spikesight.parts import describe_parts, import_installed, is_own, name_of, remember

if TYPE_CHECKING:
    from torch import nn

Builder = Callable[..., "nn.Module"]
_builders: dict[str, Builder] = {}
_families: dict[str, Builder] = {}
_trunk_options: dict[str, dict[str, Any]] = {}


def register_model(builder: Builder) -> Builder:
    """Registers a function that builds a model under the function's name, here and in timm.

    Args:
        builder: Takes num_classes, in_channels, steps, levels, neuron, drop_path_rate,
            features_only, out_indices and the family's own sizes by keyword, and returns a
            `SpikingModel`. What it gets as neuron goes to `create_neuron` as it is.

    Returns:
        The builder itself.

    Raises:
        UserError: If the function has no name, or that of a model of spikesight.
    """
    name = getattr(builder, "__name__", "")
    known = _builders.get(name, _families.get(name))
    home = "spikesight."
    theirs = known is not None and known.__module__.startswith(home)
    if not name.isidentifier() or (theirs and not builder.__module__.startswith(home)):
        why = "is a model of spikesight" if theirs else "is no name"
        raise UserError(f"{name!r} {why}; give the function that builds the model another name")

    def timm_entry(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise UserError(f"timm holds no weights for {name}; use spikesight.load(folder)")
        for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            options.pop(key, None)
        if "in_chans" in options:
            options["in_channels"] = options.pop("in_chans")
        model: nn.Module = create_model(name, **options)
        return model

    timm_entry.__name__ = name
    timm_entry.__module__ = __name__
    timm_entries.enter(timm_entry)
    _builders[name] = builder
    remember("model", name, builder)
    return builder


def register_family(builder: Builder) -> Builder:
    """Registers a function that builds a model of any sizes under its family's name.

    `create_model` and saved folders know the name; lists and timm do not show it.

    Args:
        builder: As `register_model` takes it.

    Returns:
        The builder itself.
    """
    _families[builder.__name__] = builder
    return builder


def as_trunk(**options: Any) -> Callable[[Builder], Builder]:
    """Says with which arguments a model for small images is a trunk for street photos.

    Args:
        options: Arguments of the builder, below `register_model`.

    Returns:
        A decorator that returns the builder itself.
    """

    def remember(builder: Builder) -> Builder:
        _trunk_options[builder.__name__] = options
        return builder

    return remember


def trunk_options(name: str) -> dict[str, Any]:
    """What `as_trunk` says of a model; empty where it says nothing."""
    _all_builders()
    return dict(_trunk_options.get(name, {}))


def create_model(
    name: str,
    *,
    num_classes: Annotated[int, Meta(ge=0, le=2**20)] = 1000,
    in_channels: Width = 3,
    steps: Steps = 1,
    levels: Levels | None = None,
    neuron: NeuronLike | None = None,
    neuron_arguments: Mapping[str, Any] | None = None,
    drop_path_rate: Rate = 0.0,
    **arguments: Any,
) -> Any:
    """Builds a registered model with fresh weights.

    Args:
        name: One of `list_models()`, or a family with its sizes as further arguments.
        num_classes: Classes K, at least 1; for pooled features build with features_only=True and
            average the last map.
        in_channels: Channels of the input.
        steps: Time steps T.
        levels: Largest count D of a neuron per time step; 4 for integer neurons when omitted.
        neuron: "lif", "i_lif", "ni_lif", "ie_lif", "relu" (the ANN twin) or an authors' preset, or
            one of your own: its name, its class, a function that builds it, or a neuron, which is
            copied for each place. When omitted, "lif" if levels is 1 and "i_lif" otherwise.
        neuron_arguments: What every neuron of the model takes beside steps and levels, such as
            {"threshold": 0.5}, {"retain": 0.75} or {"learnable_tau": True} of a LIF.
        drop_path_rate: Stochastic depth of the last block, in [0, 1).
        **arguments: features_only, out_indices (as timm) and the family's own sizes. What no
            model of spikesight takes and its neuron does goes to the neuron.

    Returns:
        A `SpikingModel`, or a feature extractor with timm's `feature_info` if features_only.

    Raises:
        UserError: If the name or an argument is unknown or out of range.
    """
    builders = _all_builders() | _families
    if name not in builders:
        near = ", ".join(list_models(f"*{name.split('_')[0]}*") or list_models())
        raise UserError(
            f"there is no model {name!r}; registered: {near}; one of your own is registered by "
            "the file that you import (--import)"
        )
    given = {key: value for key, value in locals().items() if key != "neuron"}
    check_arguments(create_model, given)
    if neuron == "":
        raise UserError("neuron is empty; pass the name of one, or leave it out")
    # timm's way to build a trunk passes num_classes=0 beside features_only.
    if num_classes < (0 if arguments.get("features_only") else 1):
        raise UserError(
            f"num_classes is {num_classes}; pass 1 or more, or features_only=True for the maps "
            "without a classifier"
        )
    configured = dict(neuron_arguments or {})
    if odd := configured.keys() & {"steps", "levels"}:
        raise UserError(f"neuron_arguments has {min(odd)!r}; pass {min(odd)} to the model instead")
    of_neuron = neuron_argument_names(neuron) & arguments.keys()
    if is_own("model", name):
        hint = {key: arguments[key] for key in of_neuron}
    else:
        configured |= {key: arguments.pop(key) for key in of_neuron}
        hint = {}
    options = {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "steps": steps,
        "levels": levels,
        "neuron": ConfiguredNeuron(neuron, configured) if configured else neuron,
        "drop_path_rate": drop_path_rate,
        **arguments,
    }
    try:
        model: Any = builders[name](**options)
    except TypeError as error:
        if not is_wrong_call(error):
            raise
        remedy = f"; if the neuron takes it, pass neuron_arguments={hint}" if hint else ""
        raise UserError(f"cannot build {name}: {error}{remedy}") from error
    missing = [part for part in ("resolved", "steps", "stride") if not hasattr(model, part)]
    if missing:
        raise UserError(
            f"{name} builds a {type(model).__name__} without {missing[0]}; derive it from "
            "ss.SpikingModel or ss.Classifier (import spikesight as ss) and set steps and stride"
        )
    if arguments.get("features_only") and not hasattr(model, "stage_maps"):
        raise UserError(
            f"{name} has no features_only form; derive it from ss.Classifier, with "
            "feature_stages(), and build it by spikesight.models.build_classifier"
        )
    described = {**options, "neuron": neuron, **model.resolved}
    kind = described["neuron"]
    described["neuron"] = kind if isinstance(kind, str | None) else name_of("neuron", kind) or kind
    if configured:
        described["neuron_arguments"] = configured
    model.recipe = {"name": name, "arguments": copy.deepcopy(described)}
    wanted = [("model", name), ("neuron", described["neuron"]), ("model", described.get("trunk"))]
    if own := describe_parts(wanted):
        model.recipe["parts"] = own
    return model


def is_registered(name: str) -> bool:
    """Whether `create_model` knows a name, that of a family included."""
    return name in _all_builders() or name in _families


def list_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(_all_builders(), pattern))


def _all_builders() -> dict[str, Builder]:
    importlib.import_module("spikesight.models.families")
    import_installed()
    return _builders
