"""Neurons by name: the papers', the authors' variants and users' own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, overload

from torch import nn

from spikesight.errors import UserError, is_wrong_call
from spikesight.neurons.calibrated_i_lif import CalibratedILIF
from spikesight.neurons.i_lif import ILIF
from spikesight.neurons.ie_lif import IELIF
from spikesight.neurons.integer_lif import IntegerLIF
from spikesight.neurons.lif import LIF
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.ni_lif import NILIF
from spikesight.neurons.recurrence import Rule
from spikesight.neurons.relu import ReLU
from spikesight.options import check_arguments
from spikesight.parts import find_part, list_parts, own_name, remember, reserve

BuilderT = TypeVar("BuilderT", bound=Callable[..., Neuron])


def _spike2former_mask_embedding(levels: int = 8, **options: Any) -> IntegerLIF:
    return IntegerLIF(levels=levels, unit=4 / levels, **options)


def _espikeformer_large(levels: int = 4, **options: Any) -> IntegerLIF:
    return IntegerLIF(levels=levels, **{"unit": 1 / levels, **options})


_PRESETS: dict[str, tuple[Callable[..., Neuron], dict[str, Any]]] = {
    "lif": (LIF, {}),
    "i_lif": (ILIF, {}),
    "ni_lif": (NILIF, {}),
    "ie_lif": (IELIF, {}),
    "relu": (ReLU, {}),
    "calibrated_i_lif": (CalibratedILIF, {}),
    "sdt": (LIF, {"tau": 2.0, "threshold": 1.0}),
    "sdt_attention": (LIF, {"tau": 2.0, "threshold": 0.5}),
    # QSD's released neurons keep nothing from one time step to the next: retain is 0.
    "qsd_classification": (
        IntegerLIF,
        {"threshold": 0.25, "unit": 0.25, "retain": 0.0, "ties": "up", "mask": "open"},
    ),
    "qsd_classification_attention": (
        IntegerLIF,
        {"threshold": 0.25, "unit": 0.5, "retain": 0.0, "ties": "up", "mask": "open"},
    ),
    "qsd_segmentation": (NILIF, {"retain": 0.0}),
    "qsd_detection_fpn": (ILIF, {"retain": 0.0, "eval_levels": 1}),
    "qsd_detection_rpn": (ILIF, {"retain": 0.0}),
    "qsd_detection_bbox": (ILIF, {"retain": 0.0}),
    "qsd_detection_mask": (ILIF, {"retain": 0.0}),
    # The base E-SpikeFormer has no second time step in released code, and the large one's neurons
    # keep nothing from one to the next. Before the head counts are counts.
    "espikeformer": (NILIF, {}),
    "espikeformer_head": (ILIF, {}),
    "espikeformer_large": (_espikeformer_large, {"ties": "up", "mask": "open", "retain": 0.0}),
    "espikeformer_large_head": (
        _espikeformer_large,
        {"unit": 1.0, "ties": "up", "mask": "open", "retain": 0.0},
    ),
    # Spike2Former's table 3, "Norm with Const 8".
    "constant_8_lif": (IntegerLIF, {"unit": 0.125}),
    "spike2former": (NILIF, {"levels": 8, "retain": 1.0}),
    "spike2former_mask_embedding": (_spike2former_mask_embedding, {"levels": 8, "retain": 1.0}),
}

reserve("neuron", _PRESETS)

NeuronLike = str | Callable[..., Neuron] | Neuron
"""A registered name, a class or function that builds neurons, or a neuron to copy."""


@dataclass(frozen=True)
class ConfiguredNeuron:
    """A neuron with arguments for it; goes wherever a name goes.

    Attributes:
        neuron: Which one; None is "lif" for one level and "i_lif" for more.
        arguments: What its class takes beside steps and levels.
    """

    neuron: NeuronLike | None
    arguments: Mapping[str, Any]


def list_neurons() -> list[str]:
    """Returns the names that `create_neuron` knows, those of your own among them, sorted."""
    return sorted({*_PRESETS, *list_parts("neuron")})


@overload
def register_neuron(neuron: BuilderT, *, name: str | None = None) -> BuilderT: ...


@overload
def register_neuron(
    neuron: str | None = None, *, name: str | None = None
) -> Callable[[BuilderT], BuilderT]: ...


def register_neuron(neuron: Any = None, *, name: str | None = None) -> Any:
    """Lets `neuron=` name a class or function of your own, in Python, YAML and saved models.

    A decorator. Subclasses of `Neuron` are registered without it, under their names in snake case.

    Args:
        neuron: Builds a neuron; steps, levels and neuron_arguments are passed by keyword as far as
            it takes them. Or the name.
        name: Its name; that of the class or function in snake case if omitted.

    Returns:
        What was passed.

    Raises:
        UserError: If the name is one of spikesight's, or a lambda has none.
    """
    if neuron is None or isinstance(neuron, str):
        return lambda builder: register_neuron(builder, name=neuron or name)
    if isinstance(neuron, nn.Module) or not callable(neuron):
        raise UserError(
            f"register_neuron takes a class or function that builds a neuron, not {neuron!r}"
        )
    name = name or own_name(getattr(neuron, "__name__", ""))
    if name in _PRESETS or not name.isidentifier():
        why = "is a neuron of spikesight" if name.isidentifier() else "is no name"
        raise UserError(f'{name!r} {why}; pass another: register_neuron(name="...")')
    remember("neuron", name, neuron)
    return neuron


def create_neuron(
    name: NeuronLike | ConfiguredNeuron, steps: int = 1, levels: int | None = None, **kwargs: Any
) -> Neuron:
    """Builds a neuron by name, or of your own.

    "lif", "i_lif", "ni_lif", "ie_lif" and "relu" are the papers' neurons; "calibrated_i_lif" is
    what a trained ReLU becomes (`spikesight.spike_from`). The others are what the authors' released
    code computes: "sdt" and "sdt_attention" (Meta-SpikeFormer),
    "qsd_classification", "qsd_classification_attention", "qsd_segmentation", "qsd_detection_fpn"
    (D = 4 in training, 1 in eval), "qsd_detection_rpn", "qsd_detection_bbox",
    "qsd_detection_mask", "espikeformer", "espikeformer_large" and the neurons before their heads
    ("..._head"), "spike2former" (D = 8) and "spike2former_mask_embedding", whose counts are worth
    four times as much. "constant_8_lif" is an I-LIF whose count is
    divided by 8 whatever D (an ablation of Spike2Former).

    Args:
        name: One of `list_neurons()`, a class or function that builds a neuron, or a neuron,
            which is copied.
        steps: T, time steps per call.
        levels: D, the most spikes per time step; None is the neuron's own. Binary neurons and
            "relu" have no such choice and ignore it.
        **kwargs: What else the neuron's class takes; overrides the preset.

    Raises:
        UserError: If the name is unknown, an argument does not fit the neuron, or what was built
            is none.
    """
    if isinstance(name, ConfiguredNeuron):
        kwargs = {**name.arguments, **kwargs}
        name = name.neuron or ("lif" if levels == 1 else "i_lif")
    if isinstance(name, Neuron):
        if kwargs:
            raise UserError(
                f"{', '.join(kwargs)} cannot be changed in a neuron that is built; pass its class"
            )
        built = copy.deepcopy(name)
    else:
        usual = {"steps": steps} if levels is None else {"steps": steps, "levels": levels}
        built = _build(name, usual, kwargs)
    if built.steps != steps:
        built.set_steps(steps)
    return built


def _build(
    neuron: str | Callable[..., Any], usual: dict[str, Any], given: dict[str, Any]
) -> Neuron:
    """Builds a neuron with the usual arguments as far as it takes them, and those given."""
    build, preset = _builder_of(neuron)
    label = neuron if isinstance(neuron, str) else getattr(build, "__name__", repr(build))
    known = arguments_of(build)
    if known is not None:
        usual = {"levels": 4, **usual} if _must_have_levels(build) else usual
        usual = {name: value for name, value in usual.items() if name in known}
        if odd := sorted(given.keys() - set(known)):
            near = get_close_matches(odd[0], known, 1)
            raise UserError(
                f"the neuron {label!r} does not take {odd[0]!r}; "
                f"{f'did you mean {near[0]!r}? ' if near else ''}it takes {', '.join(known)}"
            )
    if build.__module__.startswith("spikesight."):
        check_arguments(
            inspect.getattr_static(build, "__init__") if isinstance(build, type) else build, given
        )
    try:
        built = build(**{**preset, **usual, **given})
    except TypeError as error:
        if not is_wrong_call(error):
            raise
        raise UserError(f"the neuron {label!r} cannot be built: {error}") from error
    if not isinstance(built, Neuron):
        raise UserError(
            f"the neuron {label!r} is a {type(built).__name__}; write it as a subclass of "
            "spikesight.Neuron"
        )
    if not isinstance(getattr(built, "_rule", None), Rule):
        raise UserError(
            f"the neuron {label!r} does not say what it emits; call "
            "super().__init__(Dynamics(steps, levels)) in its __init__"
        )
    return built


def arguments_of(neuron: NeuronLike | None) -> list[str] | None:
    """Names of what a class or function takes by keyword; None if that is anything."""
    if isinstance(neuron, str):
        neuron = _builder_of(neuron)[0]
    if neuron is None or isinstance(neuron, Neuron):
        return []
    try:
        parameters = inspect.signature(neuron).parameters.values()
    except (TypeError, ValueError):
        return None
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        return known
    if not isinstance(neuron, type) or neuron.__base__ in (None, Neuron, nn.Module):
        return None
    of_base = arguments_of(neuron.__base__)  # which a class hands its keywords to
    return None if of_base is None else list(dict.fromkeys([*known, *of_base]))


def _must_have_levels(build: Callable[..., Any]) -> bool:
    levels = inspect.signature(build).parameters.get("levels")
    return levels is not None and levels.default is inspect.Parameter.empty


def neuron_argument_names(neuron: NeuronLike | None) -> set[str]:
    """Names of what neurons of spikesight, or the given one, take beside steps and levels."""
    kinds: list[NeuronLike | None] = [LIF, IntegerLIF, CalibratedILIF, neuron]
    return {name for kind in kinds for name in arguments_of(kind) or []} - {"steps", "levels"}


def _builder_of(neuron: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    if callable(neuron) and not isinstance(neuron, nn.Module):
        return neuron, {}
    if isinstance(neuron, str):
        if neuron in _PRESETS:
            return _PRESETS[neuron]
        # PLIF is p_lif as I-LIF is i_lif; who writes plif means it too.
        squeezed = {name.replace("_", ""): name for name in list_parts("neuron")}
        if (own := find_part("neuron", squeezed.get(neuron, neuron))) is not None:
            return own, {}
    names = list_neurons()
    near = get_close_matches(str(neuron), names, 1)
    raise UserError(
        f"unknown neuron {neuron!r}; {f'did you mean {near[0]!r}? ' if near else ''}"
        f"pass one of {', '.join(names)}, or register your own: a subclass of spikesight.Neuron or "
        "spikesight.register_neuron, in a file that is imported (--import)"
    )
