"""Neurons by name, the authors' variants among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spikesight.errors import UserError
from spikesight.neurons.i_lif import ILIF
from spikesight.neurons.ie_lif import IELIF
from spikesight.neurons.integer_lif import IntegerLIF
from spikesight.neurons.lif import LIF
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.ni_lif import NILIF
from spikesight.neurons.relu import ReLU


def _spike2former_mask_embedding(levels: int = 8, **options: Any) -> IntegerLIF:
    return IntegerLIF(levels=levels, unit=4 / levels, **options)


_INTEGER: dict[str, tuple[Callable[..., Neuron], dict[str, Any]]] = {
    "i_lif": (ILIF, {}),
    "ni_lif": (NILIF, {}),
    "ie_lif": (IELIF, {}),
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
    # Spike2Former's table 3, "Norm with Const 8".
    "constant_8_lif": (IntegerLIF, {"unit": 0.125}),
    "spike2former": (NILIF, {"levels": 8, "retain": 1.0}),
    "spike2former_mask_embedding": (_spike2former_mask_embedding, {"levels": 8, "retain": 1.0}),
}
_OTHER: dict[str, tuple[Callable[..., Neuron], dict[str, Any]]] = {
    "lif": (LIF, {}),
    "relu": (ReLU, {}),
    "sdt": (LIF, {"tau": 2.0, "threshold": 1.0}),
    "sdt_attention": (LIF, {"tau": 2.0, "threshold": 0.5}),
}


def list_neurons() -> list[str]:
    """Returns the names that `create_neuron` knows, sorted."""
    return sorted(_INTEGER | _OTHER)


def create_neuron(name: str, steps: int = 1, levels: int | None = None, **kwargs: Any) -> Neuron:
    """Builds a neuron by name.

    "lif", "i_lif", "ni_lif", "ie_lif" and "relu" are the papers' neurons. The others are what the
    authors' released code computes: "sdt" and "sdt_attention" (Meta-SpikeFormer),
    "qsd_classification", "qsd_classification_attention", "qsd_segmentation", "qsd_detection_fpn"
    (D = 4 in training, 1 in eval), "qsd_detection_rpn", "qsd_detection_bbox",
    "qsd_detection_mask", "spike2former" (D = 8) and "spike2former_mask_embedding", whose counts are
    worth four times as much. "constant_8_lif" is an I-LIF whose count is
    divided by 8 whatever D (an ablation of Spike2Former).

    Args:
        name: One of `list_neurons()`.
        steps: T, time steps per call.
        levels: D, the most spikes per time step; None is the neuron's own. Binary neurons and
            "relu" have no such choice and ignore it.
        **kwargs: What else the neuron's class takes; overrides the preset.

    Raises:
        ValueError: If the name is unknown or an argument does not fit the neuron.
    """
    if name in _INTEGER:
        build, preset = _INTEGER[name]
        chosen = {} if levels is None else {"levels": levels}
    elif name in _OTHER:
        build, preset = _OTHER[name]
        chosen = {}
    else:
        raise UserError(f"unknown neuron {name!r}; pass one of {', '.join(list_neurons())}")
    try:
        return build(**{"steps": steps, **preset, **chosen, **kwargs})
    except TypeError as error:
        raise UserError(f"neuron {name!r} does not take these arguments: {error}") from error
