"""From a trained ReLU network, or one of more levels, to spikes: thresholds are measured."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.graph import Add, Graph, MaxPool, Neuron as NeuronNode, Rearrange
from spikesight.graph.tracing import UntraceableError, trace_parts
from spikesight.models import SpikingModel
from spikesight.neurons import Dynamics, Neuron, ReLU
from spikesight.neurons.calibrated_i_lif import CalibratedILIF
from spikesight.neurons.dynamics import charge, count, reset
from spikesight.options import check_arguments, check_range
from spikesight.passes.batches import inputs_of
from spikesight.passes.threshold_search import CurrentHistogram, ThresholdRule, highest_level
from spikesight.passes.typical_inputs import typical_inputs
from spikesight.passes.warm_start import settle_statistics

NEURON = "calibrated_i_lif"
"""The neuron that converted networks are made of."""


@torch.no_grad()
def spike_from(
    model: SpikingModel,
    data: Tensor | Iterable[object],
    levels: int = 8,
    steps: int | None = None,
    *,
    thresholds: ThresholdRule = "mse",
    percentile: float = 99.9,
    learnable: bool = True,
    settle: bool = True,
) -> SpikingModel:
    """Makes a spiking network of a trained one: of its ReLU twin, or of one with more levels.

    The network keeps its weights and values; each ReLU becomes a neuron whose threshold is measured
    on inputs, without labels, so that D thresholds reach as high as its currents should. At T = 1
    that is the quantisation of activations to D + 1 values, whose counts unroll into exact spikes;
    nothing of time is in it. With more time steps than the model has, a neuron integrates: what
    was one count of D levels is spread over T steps of D levels each, and what spikes of unequal
    timing do to products and to later layers is lost. Where the model already has time steps of its
    own, as for event frames, its ReLUs know nothing of time, and the neurons that stand for them
    forget from one step to the next.

    A network with more levels, such as an I-LIF's, becomes one with fewer, or one of T = 1 and D
    levels one of T steps, in the same way.

    What is lost comes back by a short training with a small learning rate, best beside the model
    that was converted (`distillation`); `spikesight convert-ann` writes its configuration.

    Args:
        model: A trained model of ReLU (`neuron="relu"`) or of integer neurons that reset softly; it
            stays as it is.
        data: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]), or batches of them or of
            (inputs, labels), a few hundred inputs in all; those at which the model's currents are
            a hundred times the usual ones, or infinite, are left out.
        levels: D, the most spikes per time step.
        steps: T, time steps per call; those of the model if omitted.
        thresholds: How the topmost level is chosen: "mse" by the least squared error of what the
            neuron emits, "percentile" of its currents.
        percentile: Which one, in percent; silence counts as 0.
        learnable: Whether thresholds go on learning when the network is trained; not those of
            neurons whose spikes are added up, which share one.
        settle: Whether the statistics of the normalisations are measured anew.

    Returns:
        A new model in evaluation mode.

    Raises:
        UserError: If the model cannot be converted, or an argument or batch does not fit.
    """
    check_arguments(spike_from, {"levels": levels, "thresholds": thresholds})
    check_range("percentile", percentile, above=0, most=100)
    steps = model.steps if steps is None else steps
    retain = _check_source(model, levels, steps)
    batches = list(inputs_of(data))
    if not batches:
        raise UserError("there is no batch to calibrate on; pass a tensor's chunks or a loader")
    tied = _tied_neurons(model)
    converted = _with_calibrated_neurons(model, levels, steps, retain, learnable and not tied)
    with ExitStack() as stack:
        stack.callback(model.train, model.training)
        batches = typical_inputs(model.eval(), batches)
        seen = _watch(model, batches)
    for names in _groups(seen, tied):
        shared = seen[names[0]]
        for name in names[1:]:
            shared = shared.merged(seen[name])
        spread = steps // model.steps
        highest = highest_level(shared, levels * spread, thresholds, percentile)
        for name in names:
            neuron, before = converted.get_submodule(name), model.get_submodule(name)
            assert isinstance(neuron, CalibratedILIF)
            assert isinstance(before, Neuron)
            gain = before.unit / before.threshold if before.levels else 1.0
            # Finer than the model's own levels would be another rounding, not a better one.
            least = before.threshold * spread if before.levels else 0.0
            wanted = least or 1.0 if highest is None else max(highest / levels, least)
            neuron.set_threshold(wanted, gain)
    if settle:
        settle_statistics(converted, batches)
    return converted.eval()


def _check_source(model: SpikingModel, levels: int, steps: int) -> float:
    """Refuses what cannot be converted; returns the share that the new membranes keep."""
    recipe = getattr(model, "recipe", None)
    if recipe is None:
        raise UserError(
            f"{type(model).__name__} does not know how it was built; register a builder with "
            "spikesight.register_model and build it with spikesight.create_model"
        )
    for key, why in (
        ("quantization", "is quantised; convert the model that it was made from, then quantise"),
        ("masked_image", "guesses hidden patches; convert what was trained from its trunk"),
    ):
        if recipe.get(key) is not None:
            raise UserError(f"the model {why}")
    neurons = {name: m for name, m in model.named_modules() if isinstance(m, Neuron)}
    if not neurons:
        raise UserError("the model has no neurons of spikesight, so there is nothing to convert")
    if steps != model.steps and (model.steps != 1 or steps < 1):
        raise UserError(
            f"the model has {model.steps} time steps and {steps} are asked for; leave steps out"
            + ("" if model.steps != 1 else ", or pass 1 or more")
        )
    retained = {_retained(name, neuron, levels, steps) for name, neuron in neurons.items()}
    if len(retained) > 1:
        raise UserError(
            "neurons of the model keep different shares of their membranes "
            f"({', '.join(map(str, sorted(retained)))}); convert its ReLU twin instead"
        )
    return 1.0 if steps != model.steps else retained.pop()


def _retained(name: str, neuron: Neuron, levels: int, steps: int) -> float:
    """The share of the membrane that one neuron keeps: a ReLU's nothing."""
    if type(neuron).forward is ReLU.forward:
        return 0.0
    dynamics = neuron.dynamics
    soft = dynamics is not None and (dynamics.reset, dynamics.offset) == ("soft", 0.5)
    if dynamics is None or not soft or dynamics.decay_input:
        raise UserError(
            f"{name} is a {type(neuron).__name__}; thresholds are measured for ReLU and for "
            "integer neurons such as i_lif, so train the ReLU twin (neuron='relu') and convert it"
        )
    if levels * steps > dynamics.levels * dynamics.steps:
        raise UserError(
            f"{name} has {dynamics.levels} levels and {dynamics.steps} time steps, of which "
            f"{levels} and {steps} make no less; pass fewer levels, or convert the ReLU twin"
        )
    return dynamics.retain if steps > 1 else 0.0


def _with_calibrated_neurons(
    model: SpikingModel, levels: int, steps: int, retain: float, learnable: bool
) -> SpikingModel:
    """The model with other neurons and the same weights; its sizes are numbers, so they stay."""
    recipe: dict[str, Any] = {**copy.deepcopy(model.recipe)}
    arguments = {**recipe["arguments"], "neuron": NEURON, "levels": levels, "steps": steps}
    if recipe["name"].startswith("spike2former"):
        arguments["normalisation"] = None  # which would name another neuron
    arguments["neuron_arguments"] = {"retain": retain, "learnable_threshold": learnable}
    built: SpikingModel = type(model).rebuild({**recipe, "arguments": arguments})
    example = next(model.parameters())
    built = built.to(example.device, example.dtype)
    state, own = model.state_dict(), built.state_dict()
    of_neurons = {
        f"{name}.{part}"
        for name, module in built.named_modules()
        if isinstance(module, CalibratedILIF)
        for part in module.state_dict()
    }
    if odd := sorted((own.keys() ^ state.keys()) - of_neurons):
        raise UserError(
            f"{odd[0]} is in one of the two models alone, so {recipe['name']} has other parts with "
            "other neurons; pass the model's sizes to create_model so that it has the same"
        )
    built.load_state_dict(own | state)
    return built.eval()


def _watch(model: SpikingModel, batches: list[Tensor]) -> dict[str, CurrentHistogram]:
    """What the potentials of each neuron are, by its name."""
    seen: dict[str, CurrentHistogram] = {}
    with ExitStack() as stack:
        for name, neuron in model.named_modules():
            if isinstance(neuron, Neuron):
                histogram = seen[name] = CurrentHistogram()

                def note(
                    module: nn.Module,
                    inputs: tuple[Any, ...],
                    _: Any,
                    histogram: CurrentHistogram = histogram,
                ) -> None:
                    assert isinstance(module, Neuron)
                    histogram.add(_potentials(inputs[0], module.dynamics))

                stack.callback(neuron.register_forward_hook(note).remove)
        example = next(model.parameters())
        for batch in batches:
            model(batch.to(example.device, example.dtype))
    return seen


def _potentials(current: Tensor, dynamics: Dynamics | None) -> Tensor:
    """What a neuron compares with its levels, none above the topmost of those that it has."""
    if dynamics is None:
        return current
    membrane, potentials = torch.zeros_like(current[: len(current) // dynamics.steps]), []
    for current_t in current.chunk(dynamics.steps):
        potentials.append(charge(current_t, membrane, dynamics))
        membrane = reset(potentials[-1], count(potentials[-1], dynamics), dynamics)
    return torch.cat(potentials).clamp(max=dynamics.levels * dynamics.threshold)


def _tied_neurons(model: SpikingModel) -> list[set[str]]:
    """Sets of neurons whose spikes are added up: a sum of counts needs one unit."""
    try:
        graphs = trace_parts(model).values()
    except UntraceableError:
        return []
    tied: list[set[str]] = []
    for graph in graphs:
        for names in _summed(graph):
            apart = [group for group in tied if not group & names]
            tied = [*apart, names.union(*(group for group in tied if group & names))]
    return tied


def _summed(graph: Graph) -> list[set[str]]:
    spikes: dict[str, set[str]] = {}
    found: list[set[str]] = []
    for node in graph.nodes:
        sources = [spikes[name] for name in node.inputs if name in spikes]
        match node:
            case NeuronNode():
                spikes[node.name] = {node.name.partition("#")[0]}
            case MaxPool() | Rearrange() if sources:
                spikes[node.name] = sources[0]
            case Add() if len(sources) == 2:
                spikes[node.name] = sources[0] | sources[1]
                found.append(spikes[node.name])
    return found


def _groups(seen: dict[str, CurrentHistogram], tied: list[set[str]]) -> list[list[str]]:
    """The neurons, those that share a threshold together."""
    alone = [[name] for name in seen if not any(name in group for group in tied)]
    return [*alone, *(sorted(group & seen.keys()) for group in tied)]
