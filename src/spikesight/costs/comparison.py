"""A network beside its rivals under one cost model: layer by layer, and who wins."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spikesight.costs.cost_models import COST_KINDS, Cost, CostModel, as_samples
from spikesight.costs.forms import EQUAL_BITS, FORMS, FP32, INT8, SPIKES, Form
from spikesight.costs.work import Work
from spikesight.files.replacing import write_text
from spikesight.reports.text_table import text_table

_HIGHEST_RATE = 1.0
_BISECTIONS = 60


@dataclass(frozen=True)
class LayerComparison:
    """One layer in every form that the cost model prices.

    Attributes:
        work: What it does.
        costs: Mean cost per sample, by the form's key.
        model: The cost model.
    """

    work: Work
    costs: dict[str, Cost]
    model: CostModel

    @cached_property
    def break_even(self) -> float | None:
        """The firing rate at which binary spikes cost as much as the ANN of equal bits.

        0 if they always cost more, 1 if never; None where it reads no counts or a form has no
        price.
        """
        return _break_even(self.work, self.model)

    @property
    def winner(self) -> str:
        """The key of the cheapest form."""
        return min(self.costs, key=lambda key: float(self.costs[key].total))


@dataclass(frozen=True)
class EnergyComparison:
    """Energy of a network in its own forms and of its rivals, under one cost model.

    Attributes:
        model: The cost model.
        layers: First to last; those that cost nothing in any form are left out.
        samples: Inputs that were averaged over.
    """

    model: CostModel
    layers: tuple[LayerComparison, ...]
    samples: int

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The forms that the cost model prices."""
        return tuple(form for form in FORMS if self.layers and form.key in self.layers[0].costs)

    def total(self, form: str) -> Cost:
        """Mean cost of all layers per sample.

        Args:
            form: Its key.
        """
        return sum((layer.costs[form] for layer in self.layers), Cost())

    def picojoules(self, form: str) -> float:
        """Mean energy of all layers per sample.

        Args:
            form: Its key.
        """
        return float(self.total(form).total)

    def spread(self, form: str) -> float:
        """Standard deviation of the energy between samples, in picojoules.

        Args:
            form: Its key.
        """
        (chosen,) = (f for f in FORMS if f.key == form)
        costs = (self.model.cost(layer.work, chosen) for layer in self.layers)
        of_samples = sum(as_samples(c.total, self.samples) for c in costs if c is not None)
        assert not isinstance(of_samples, int)
        return float(of_samples.std(correction=0))

    def table(self) -> str:
        """The comparison as text."""
        header = ("layer", "kind", "rate", "break-even", *(form.title for form in self.forms))
        rows = [
            (
                layer.work.name,
                layer.work.kind,
                _share(layer.work.firing_rate),
                _share(layer.break_even),
                *(_nanojoules(layer.costs[form.key]) for form in self.forms),
            )
            for layer in self.layers
        ]
        rows += [
            (kind, "", "", "", *(_nanojoules(self.total(f.key), kind) for f in self.forms))
            for kind in COST_KINDS
        ]
        rows.append(("total", "", "", "", *(_nanojoules(self.total(f.key)) for f in self.forms)))
        return text_table(header, rows) + "\nIn nJ. " + self.summary()

    def summary(self) -> str:
        """What the sums say, in a sentence or two."""
        cheapest = min(self.forms, key=lambda form: self.picojoules(form.key))
        said = (
            f"Per sample, mean of {self.samples}, under {self.model.title} "
            f"({self.model.process}; {self.model.source}). Cheapest: {cheapest.title}"
        )
        keys = {form.key for form in self.forms}
        if {SPIKES.key, EQUAL_BITS.key} <= keys:
            ratio = self.picojoules(SPIKES.key) / self.picojoules(EQUAL_BITS.key)
            won = sum(
                layer.costs[SPIKES.key].total < layer.costs[EQUAL_BITS.key].total
                for layer in self.layers
                if layer.work.reads_counts
            )
            reading = sum(layer.work.reads_counts for layer in self.layers)
            said += (
                f". Binary spikes take {ratio:.2f} of what the ANN of equal bits does, and less in "
                f"{won} of {reading} layers that read counts"
            )
        if not self.model.counts_memory:
            said += ". Memory is not priced here"
        weights = {layer.work.weight_bits for layer in self.layers if layer.work.is_synapse}
        if INT8.key in keys and weights == {None}:
            said += (
                f". Weights have 32 bits here, and 8 in the {INT8.title}: a deployed network has "
                "as few"
            )
        return f"{said}."

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values, for JSON."""
        return {
            "model": {
                "key": self.model.key,
                "title": self.model.title,
                "source": self.model.source,
                "process": self.model.process,
            },
            "samples": self.samples,
            "total_pj": {form.key: self.picojoules(form.key) for form in self.forms},
            "spread_pj": {form.key: self.spread(form.key) for form in self.forms},
            "layers": [
                {
                    "name": layer.work.name,
                    "kind": layer.work.kind,
                    "firing_rate": layer.work.firing_rate,
                    "nonzero": layer.work.nonzero,
                    "break_even": layer.break_even,
                    "winner": layer.winner,
                    "pj": {
                        key: {kind: float(getattr(cost, kind)) for kind in COST_KINDS}
                        for key, cost in layer.costs.items()
                    },
                }
                for layer in self.layers
            ],
        }


def write_comparisons(comparisons: Sequence[EnergyComparison], path: Path) -> None:
    """Writes comparisons as JSON, or as CSV with one line per cost model, layer and form.

    Args:
        comparisons: Of one network under several cost models.
        path: File to write; its ending says how.
    """
    plain = [comparison.to_dict() for comparison in comparisons]
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(plain, indent=2) + "\n")
        return
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["model", "layer", "kind", "firing_rate", "break_even", "form", *COST_KINDS])
    for comparison in plain:
        for layer in comparison["layers"]:
            for form, costs in layer["pj"].items():
                rates = (layer["firing_rate"], layer["break_even"])
                first = (comparison["model"]["key"], layer["name"], layer["kind"], *rates, form)
                table.writerow([*first, *(costs[kind] for kind in COST_KINDS)])
    write_text(path, lines.getvalue())


def compare(works: Sequence[Work], model: CostModel) -> EnergyComparison:
    """Prices what a network does in each form that a cost model knows; an ANN in those of ANNs.

    Args:
        works: The work of its layers.
        model: The cost model.
    """
    layers = []
    spiking = any(work.levels for work in works)
    forms = FORMS if spiking else (INT8, FP32)
    for work in works:
        priced = {form.key: model.cost(work, form) for form in forms}
        costs = {key: cost.mean() for key, cost in priced.items() if cost is not None}
        if any(float(cost.total) for cost in costs.values()):
            layers.append(LayerComparison(work, costs, model))
    return EnergyComparison(model, tuple(layers), len(works[0].spikes))


def _break_even(work: Work, model: CostModel) -> float | None:
    rate = work.firing_rate
    rival = model.cost(work, EQUAL_BITS)
    if not work.reads_counts or not rate or rival is None:
        return None
    least = float(rival.mean().total)

    def dearer(at: float) -> bool:
        cost = model.cost(work.scaled(at / rate), SPIKES)
        assert cost is not None
        return float(cost.mean().total) > least

    if dearer(0.0):
        return 0.0
    if not dearer(_HIGHEST_RATE):
        return _HIGHEST_RATE
    low, high = 0.0, _HIGHEST_RATE
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if dearer(middle) else (middle, high)
    return low


def _nanojoules(cost: Cost, kind: str = "total") -> str:
    return f"{float(getattr(cost, kind)) / 1e3:,.1f}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"
