"""The price that a run puts on the counts of its model's neurons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from spikesight.costs.cost_models import COST_MODELS
from spikesight.costs.forms import COUNTS, SPIKES
from spikesight.costs.marginal import reading_picojoules
from spikesight.costs.readers import reading_macs
from spikesight.graph import Graph
from spikesight.graph.tracing import trace_parts
from spikesight.losses import (
    FiringRateConfig,
    FiringRates,
    cost_weighted_penalty,
    firing_rate_penalty,
    nonzero_share,
    spiking_neurons,
    weighted_rate,
)
from spikesight.neurons.recording import firing_rate, rates_of
from spikesight.passes.folding import fold
from spikesight.training.runs.processes import mean_of_all

Size = tuple[int, int]
CostOfCounts = Callable[[Graph, Size], dict[str, float]]


class FiringPrice:
    """Watches the neurons of a model that learns, and says what their counts cost.

    Args:
        config: The price.
        model: The model, on its device.

    Raises:
        UntraceableError: If layers pay by cost and the model has no graph.
    """

    def __init__(self, config: FiringRateConfig, model: nn.Module) -> None:
        self._config = config
        self._paid: Tensor | None = None
        # Before there are hooks that would watch the tracing.
        by_cost = config.by == "cost" and spiking_neurons(model)
        self._costs = ReadingCosts(model, self._price_of(config)) if by_cost else None
        measure = firing_rate if config.counts == "mean" else nonzero_share
        self._rates = FiringRates(model, only_in_training=True, measure=measure)

    @staticmethod
    def _price_of(config: FiringRateConfig) -> CostOfCounts:
        if config.prices == "macs":
            return reading_macs
        form = SPIKES if config.counts == "mean" else COUNTS
        return partial(reading_picojoules, model=COST_MODELS[config.prices], form=form)

    def __call__(self, size: Size) -> Tensor:
        """The price of the last forward pass, a scalar.

        Args:
            size: Height and width of its images.
        """
        calls = self._rates.take_calls()
        rates = mean_of_all(rates_of(calls))
        if self._costs is None:
            self._paid = rates.detach().mean() if calls else None
            return firing_rate_penalty(rates, self._config)
        macs = self._costs.of_one_input(size)
        costs = rates.new_tensor([macs.get(call.name, 0.0) * call.samples for call in calls])
        self._paid = weighted_rate(rates.detach(), costs)
        return cost_weighted_penalty(rates, costs, self._config)

    def figures(self) -> dict[str, float]:
        """What the last forward pass was made to pay for, by name."""
        name = "firing_rate" if self._config.counts == "mean" else "nonzero"
        if self._costs is not None:
            name += "_by_mac" if self._config.prices == "macs" else "_by_pj"
        return {} if self._paid is None else {name: float(self._paid)}

    def forget(self) -> None:
        """Forgets a forward pass that was not for learning."""
        self._rates.take_calls()

    def close(self) -> None:
        """Takes the hooks off the model."""
        self._rates.close()
        if self._costs is not None:
            self._costs.close()


class ReadingCosts:
    """What the counts of a model's neurons cost their readers, at the sizes that it is shown.

    Args:
        model: The model; traced once, in evaluation mode.
        price: What the counts of a graph's neurons cost, by the neuron's name.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, price: CostOfCounts = reading_macs) -> None:
        self._price = price
        self._graphs = {path: fold(graph) for path, graph in trace_parts(model).items()}
        self._sizes: dict[str, Size] = {}
        self._macs: dict[str, float] | None = None
        self._hooks = ExitStack()
        for path in filter(None, self._graphs):
            handle = model.get_submodule(path).register_forward_pre_hook(
                partial(self._note_size, path)
            )
            self._hooks.callback(handle.remove)

    def _note_size(self, path: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._sizes[path] = (inputs[0].shape[-2], inputs[0].shape[-1])

    def of_one_input(self, size: Size) -> dict[str, float]:
        """What a count everywhere costs per input, time step and call, by the neuron's name.

        Args:
            size: Height and width of the images of the first call; later ones change nothing.
        """
        if self._macs is None:
            sizes = {"": size} | self._sizes
            calls: dict[str, list[float]] = defaultdict(list)
            for path, shown in sizes.items():
                for node, macs in self._price(self._graphs[path], shown).items():
                    calls[node.partition("#")[0]].append(macs)
            self._macs = {name: fmean(macs) for name, macs in calls.items()}
            self.close()
        return self._macs

    def close(self) -> None:
        """Takes the hooks off the model, and forgets its graphs."""
        self._hooks.close()
        self._graphs = {}
