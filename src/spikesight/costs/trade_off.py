"""Accuracy against energy of several networks, beside ANNs of equal bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from spikesight.costs.cost_models import COST_MODELS, FOR_EVERY_FORM
from spikesight.costs.forms import COUNTS, EQUAL_BITS, SPIKES
from spikesight.reports.charts import Curve, legend, line_chart
from spikesight.reports.page import paragraph, section, table
from spikesight.reports.text_table import text_table

if TYPE_CHECKING:
    from spikesight.costs.comparison import EnergyComparison
    from spikesight.costs.report import EnergyReport

_FORMS = (SPIKES, COUNTS, EQUAL_BITS)

Network = TypeVar("Network")


@dataclass(frozen=True)
class Measured:
    """A network, what it is worth and what it does.

    Attributes:
        name: Of the run.
        figure: What its validation measured first, such as "top1".
        value: Of that figure.
        report: Its energy.
    """

    name: str
    figure: str
    value: float
    report: EnergyReport

    @cached_property
    def comparisons(self) -> dict[str, EnergyComparison]:
        """The network under each cost model that has a price for every form."""
        return {key: self.report.under(key) for key in FOR_EVERY_FORM}


def best_of(
    networks: Sequence[Network],
    energy: Callable[[Network], float],
    value: Callable[[Network], float],
) -> list[Network]:
    """The networks that no other beats in both accuracy and energy, the cheapest first.

    Args:
        networks: All of them.
        energy: What one spends.
        value: What one is worth.
    """
    best: list[Network] = []
    for network in sorted(networks, key=lambda network: (energy(network), -value(network))):
        if not best or value(network) > value(best[-1]):
            best.append(network)
    return best


def best_under(networks: Sequence[Measured], prices: str, form: str) -> list[Measured]:
    """The best of them by their figure and the energy of a form under a cost model.

    Args:
        networks: All of them.
        prices: Name of the cost model.
        form: Key of the form.
    """
    return best_of(networks, lambda n: n.comparisons[prices].picojoules(form), lambda n: n.value)


def trade_off_table(networks: Sequence[Measured]) -> str:
    """Accuracy and energy of every network as text, in µJ; * marks those that none beats."""
    columns = (f"{key}: {form.title}" for key in FOR_EVERY_FORM for form in _FORMS)
    header = ("network", networks[0].figure, *columns)
    note = "µJ per sample; * where no other network is better in both"
    return f"{text_table(header, _rows(networks))}\n{note}"


def trade_off_section(networks: Sequence[Measured]) -> str:
    """The same as part of a page, with a chart per cost model."""
    charts = "".join(_chart(networks, key) for key in FOR_EVERY_FORM)
    columns = (
        f"{COST_MODELS[key].title}: {form.title}" for key in FOR_EVERY_FORM for form in _FORMS
    )
    header = ("network", networks[0].figure, *columns)
    note = (
        "µJ per sample. A star marks networks that no other beats in both accuracy and energy; the "
        "charts show these. The "
        "ANN of equal bits has the accuracy of its spiking network: at T = 1 it computes the same."
    )
    key = legend([("spike", "binary spikes"), ("twin", "ANN of equal bits")])
    body = f'{key}<div class="charts">{charts}</div>{table(header, _rows(networks))}'
    return section("Accuracy against energy", body, paragraph(note))


def _rows(networks: Sequence[Measured]) -> list[tuple[str, ...]]:
    best = {(k, f.key): best_under(networks, k, f.key) for k in FOR_EVERY_FORM for f in _FORMS}
    rows = []
    for network in networks:
        cells = [network.name, f"{network.value:.2f}"]
        for key in FOR_EVERY_FORM:
            comparison = network.comparisons[key]
            for form in _FORMS:
                star = " *" if network in best[key, form.key] else ""
                cells.append(f"{comparison.picojoules(form.key) / 1e6:,.1f}{star}")
        rows.append(tuple(cells))
    return rows


def _chart(networks: Sequence[Measured], key: str) -> str:
    def points(form: str) -> list[tuple[float, float]]:
        return [
            (float(f"{network.comparisons[key].picojoules(form) / 1e6:.3g}"), network.value)
            for network in best_under(networks, key, form)
        ]

    curves = [
        Curve("binary spikes", "spike", points(SPIKES.key)),
        Curve("equal bits", "twin", points(EQUAL_BITS.key)),
    ]
    title = f"{networks[0].figure}, {COST_MODELS[key].title}"
    return line_chart(title, curves, "µJ per sample", lambda value: f"{value:g}")
