"""What a network costs, layer by layer, as a page and as parts of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spikesight.costs.cost_models import COST_KINDS, COST_MODELS, FOR_EVERY_FORM
from spikesight.costs.forms import COUNTS, EQUAL_BITS, SPIKES
from spikesight.costs.prices import ACCUMULATE_PJ, LOW_BIT_NOTE, MULTIPLY_ACCUMULATE_PJ
from spikesight.costs.trade_off import trade_off_section
from spikesight.reports.charts import bar_chart, legend, stacked_bars
from spikesight.reports.page import (
    Tile,
    bullets,
    folded,
    page,
    paragraph,
    percent,
    section,
    table,
    tiles,
)
from spikesight.reports.pictures import gallery, heat_map, picture

if TYPE_CHECKING:
    from spikesight.costs.comparison import EnergyComparison, LayerComparison
    from spikesight.costs.firing_maps import FiringMaps
    from spikesight.costs.report import EnergyReport
    from spikesight.costs.trade_off import Measured

_UNITS = ((1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
_FINER = 10.0  # so that small layers beside large ones are not 0.0


def energy_page(
    report: EnergyReport, maps: FiringMaps | None = None, networks: Sequence[Measured] = ()
) -> str:
    """A self-contained page about the energy and the firing of one network.

    Args:
        report: As `spikesight.energy` returns it.
        maps: Where neurons fire on a photo.
        networks: Several networks, this one among them: accuracy against energy.

    Returns:
        The HTML document.
    """
    times, less = ratio_text(report).split()
    headline = [
        Tile(energy_text(report.picojoules), "per sample", f"mean of {report.samples:,}", "spike"),
        Tile(energy_text(report.twin_picojoules), "ANN twin", "the same layers, dense", "twin"),
        Tile(times, f"{less} than the ANN twin"),
    ]
    parts = [section("Energy per layer", energy_chart(report), energy_details(report))]
    parts += [rivals_section(report.under(key)) for key in FOR_EVERY_FORM if report.works]
    if networks:
        parts.append(trade_off_section(networks))
    if report.what_if:
        parts.append(section("What if the same spikes came in other time steps", _what_if(report)))
    if report.firing_rates:
        rate = mean_firing_rate(report)
        headline.append(Tile(percent(rate), "mean firing rate", "of all spikes that could be"))
        parts.append(section("Firing rate per layer", firing_chart(report), firing_details(report)))
    if maps is not None and maps.rates:
        parts.append(section("Where neurons fire on one photo", _gallery(maps)))
    parts.append(section("What these figures mean", bullets(energy_notes(report))))
    lead = "Synaptic operations, counted spike by spike and turned into energy."
    return page("Energy report", lead, tiles(headline), *parts)


def rivals_section(comparison: EnergyComparison) -> str:
    """The network in its own forms and its rivals, under one cost model."""
    forms = comparison.forms
    show = _in_common_unit(max(comparison.picojoules(form.key) for form in forms))
    sums = stacked_bars(
        [form.title for form in forms],
        [
            (kind, [float(getattr(comparison.total(form.key), kind)) for form in forms])
            for kind in COST_KINDS
        ],
        show,
    )
    own = [key for key in (SPIKES.key, EQUAL_BITS.key) if key in {form.key for form in forms}]
    details = [_layers(comparison, key) for key in own]
    return section(
        f"Energy under {comparison.model.title}", sums, paragraph(comparison.summary()), *details
    )


def _what_if(report: EnergyReport) -> str:
    """Energy at other T x D, of which the network's own is the first row."""
    rows = []
    for steps in (None, *sorted(report.what_if)):
        works = report.works if steps is None else report.what_if[steps]
        neurons = [work for work in works if work.kind == "neuron"]
        cells = [f"{neurons[0].steps} x {max(work.levels for work in neurons)}"]
        for key in FOR_EVERY_FORM:
            comparison = report.under(key, steps)
            cells += [energy_text(comparison.picojoules(form.key)) for form in (SPIKES, COUNTS)]
        rows.append(tuple(cells))
    forms = [
        f"{COST_MODELS[key].title}: {f.title}" for key in FOR_EVERY_FORM for f in (SPIKES, COUNTS)
    ]
    note = (
        "Each neuron emits as many spikes in all, spread as evenly over the time steps as they can "
        "be, and D is as much smaller. What that does to accuracy is another question."
    )
    return table(("T x D", *forms), rows) + paragraph(note)


def _layers(comparison: EnergyComparison, key: str) -> str:
    """Where a form spends it, layer by layer."""
    layers = comparison.layers
    (title,) = (form.title for form in comparison.forms if form.key == key)
    kinds = [(k, [float(getattr(layer.costs[key], k)) for layer in layers]) for k in COST_KINDS]
    show = _in_common_unit(max(float(layer.costs[key].total) for layer in layers))
    return folded(f"Layer by layer: {title}", stacked_bars([*map(_named, layers)], kinds, show))


def _named(layer: LayerComparison) -> str:
    """A layer's path, and where it has one its firing rate beside the break-even one."""
    name, rate = layer.work.name, layer.work.firing_rate
    if layer.break_even is None or rate is None:
        return name
    return f"{name}: rate {rate:.3f}, break-even {layer.break_even:.3f}"


def energy_text(picojoules: float) -> str:
    """An energy in the unit in which it reads best."""
    factor, unit = _unit(picojoules)
    return f"{picojoules / factor:,.1f} {unit}"


def ratio_text(report: EnergyReport) -> str:
    """How many times less (or more) energy than the ANN twin's."""
    if report.picojoules <= report.twin_picojoules:
        return f"{report.twin_picojoules / report.picojoules:.1f}x less"
    return f"{report.picojoules / report.twin_picojoules:.1f}x more"


def mean_firing_rate(report: EnergyReport) -> float:
    """Mean of the neuron layers' firing rates; 0 for an ANN."""
    rates = report.firing_rates.values()
    return sum(rates) / len(rates) if rates else 0.0


def energy_chart(report: EnergyReport) -> str:
    """Energy of every layer beside that of the twin's."""
    spiking = [layer.picojoules for layer in report.layers]
    twin = [layer.twin_picojoules for layer in report.layers]
    return legend([("spike", "this network"), ("twin", "its ANN twin")]) + bar_chart(
        [layer.name for layer in report.layers],
        [("spike", spiking), ("twin", twin)],
        _in_common_unit(max([*spiking, *twin])),
    )


def firing_chart(report: EnergyReport) -> str:
    """Firing rate of every neuron layer."""
    return bar_chart(
        list(report.firing_rates), [("spike", list(report.firing_rates.values()))], percent
    )


def firing_details(report: EnergyReport) -> str:
    """Which neurons are silent and which are full, as a table that opens when it is clicked."""
    rows = [
        (
            n.name,
            percent(n.firing_rate),
            percent(n.nonzero),
            percent(n.silent),
            percent(n.saturated),
        )
        for n in report.neurons
    ]
    header = ("layer", "firing rate", "counts not zero", "channels never fire", "counts at D")
    return folded("Silent and saturated neurons", table(header, rows))


def _gallery(maps: FiringMaps) -> str:
    """The photo, and beside it the firing rate at every place; each map has its own scale."""
    shown = [(picture(maps.photo, "the photo"), "the photo")]
    for name, rate in maps.rates.items():
        most = float(rate.max())
        caption = f"{name}, up to {percent(most)}"
        shown.append((heat_map(rate, most or 1.0, f"firing rate of {name}"), caption))
    return gallery(shown)


def energy_details(report: EnergyReport) -> str:
    """All figures as a table that opens when it is clicked."""
    layers = report.layers
    show = _in_common_unit(max(layer.twin_picojoules for layer in layers))
    rows = [
        (
            layer.name,
            layer.kind,
            f"{layer.macs:,.0f}",
            "" if layer.firing_rate is None else percent(layer.firing_rate),
            "" if layer.nonzero is None else percent(layer.nonzero),
            f"{layer.accumulates:,.0f}",
            f"{layer.multiplies:,.0f}",
            show(layer.picojoules),
            show(layer.twin_picojoules),
        )
        for layer in layers
    ]
    header = (
        "layer",
        "kind",
        "operations if dense",
        "input firing rate",
        "counts not zero",
        "additions by spikes",
        "multiplications",
        "energy",
        "ANN twin",
    )
    total = (
        "total",
        "",
        f"{report.sum_of('macs'):,.0f}",
        "",
        "" if report.nonzero_by_mac is None else percent(report.nonzero_by_mac),
        f"{report.sum_of('accumulates'):,.0f}",
        f"{report.sum_of('multiplies'):,.0f}",
        show(report.picojoules),
        show(report.twin_picojoules),
    )
    return folded("The figures of every layer", table(header, rows, total))


def energy_notes(report: EnergyReport) -> list[str]:
    """What is counted and what is not, in sentences."""
    notes = [
        f"Counted: {MULTIPLY_ACCUMULATE_PJ} pJ for every multiplication with a weight and "
        f"{ACCUMULATE_PJ} pJ for every addition that a spike causes (synaptic operation), the "
        "attention products included. These prices are those of 32-bit floating point on a 45 nm "
        "chip (Horowitz 2014).",
        "Not counted: memory, the update of membrane potentials, and the additions of shortcuts. "
        "On a real chip memory often costs the most. So this is an estimate from counts, not a "
        "measurement.",
        "The twin is counted dense: zeros that its ReLUs make earn it nothing. With 8-bit numbers "
        "both networks would cost less.",
    ]
    if any(layer.twin_macs < layer.macs for layer in report.layers):
        notes.append(
            "Where spikes need several factors folded into one kernel (RepConv), the twin keeps "
            "the factors, which is cheaper for it."
        )
    few = report.low_bit_picojoules
    if few is not None:
        notes.append(f"With {LOW_BIT_NOTE}: {energy_text(few)}.")
    multiplying = [layer.name for layer in report.layers if layer.multiplies > 0]
    if report.firing_rates and multiplying:
        share = (
            sum(MULTIPLY_ACCUMULATE_PJ * layer.multiplies for layer in report.layers)
            / report.picojoules
        )
        notes.append(
            f"Not spike-driven: {', '.join(multiplying)}. There real values are multiplied, as the "
            f"image itself is no spikes. That is {percent(share)} of this network's energy."
        )
    if report.nonzero_by_mac is not None:
        notes.append(
            f"{percent(report.nonzero_by_mac)} of the counts that are read are not zero, each "
            "weighted by the dense operations that read it: what a kernel that skips zeros has "
            "left to do, however high the counts are."
        )
    if report.firing_rates:
        notes.append(
            "By the papers' formula (firing rate times dense operations, borders ignored) the sum "
            f"is {energy_text(report.paper_picojoules)}."
        )
    return notes


def _unit(picojoules: float) -> tuple[float, str]:
    return next((unit for unit in _UNITS if picojoules >= unit[0]), _UNITS[-1])


def _in_common_unit(largest: float) -> Callable[[float], str]:
    factor, unit = _unit(largest / _FINER)

    def show(picojoules: float) -> str:
        value = picojoules / factor
        return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"

    return show
