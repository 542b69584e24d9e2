"""The audit of a deployed network as a page: which operations it needs, and where it multiplies."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from spikesight.costs.page import energy_text
from spikesight.costs.prices import (
    ACCUMULATE_PJ,
    INTEGER_ADD_PJ,
    INTEGER_MULTIPLY_ACCUMULATE_PJ,
    MULTIPLY_ACCUMULATE_PJ,
)
from spikesight.reports.charts import stacked_bars
from spikesight.reports.page import Tile, bullets, page, paragraph, section, table, tiles
from spikesight.reports.text_table import si_number

if TYPE_CHECKING:
    from spikesight.costs.audit import Audit, Operations

_PARTS = {
    "accumulates": "accumulate (by spikes)",
    "additions": "add",
    "comparisons": "shift or compare",
    "multiplies": "multiply",
}


def audit_page(audit: Audit) -> str:
    """A self-contained page about what one network computes.

    Args:
        audit: As `spikesight.audit` returns it.

    Returns:
        The HTML document.
    """
    total = audit.total
    driven = audit.spike_driven
    headline = [
        Tile(
            "yes" if driven else "no",
            "spike-driven",
            "nothing multiplies beyond the first layer"
            if driven
            else f"{len(audit.offenders)} layers beyond the first multiply",
            "good" if driven else "bad",
        ),
        Tile(si_number(total.accumulates), "accumulates", "additions by spikes", "spike"),
        Tile(si_number(total.multiplies), "multiplications", "per sample"),
        Tile(
            energy_text(total.integer_picojoules),
            "per sample",
            f"in 45 nm integers, mean of {audit.samples:,}",
        ),
    ]
    parts = [tiles(headline)]
    if not driven:
        said = "These layers beyond the first multiply; all others add, shift and compare."
        parts.append(section("Where it multiplies", paragraph(said), bullets(audit.offenders)))
    parts += [
        section("Operations of every layer", _chart(audit)),
        section("All figures", _figures(audit)),
        section("What these figures mean", bullets(_notes(total))),
    ]
    lead = (
        "Every operation of a deployed network on real images, as its spikes cause them: "
        f"additions, shifts, comparisons, multiplications; per sample, mean of {audit.samples:,}."
    )
    return page("Audit of a spiking network", lead, *parts)


def _chart(audit: Audit) -> str:
    layers = [layer for layer in audit.layers if any(vars(layer.operations).values())]
    parts = [
        (title, [float(getattr(layer.operations, name)) for layer in layers])
        for name, title in _PARTS.items()
    ]
    return stacked_bars([layer.name for layer in layers], parts, si_number)


def _figures(audit: Audit) -> str:
    rows = [(layer.name, layer.kind, *_cells(layer.operations)) for layer in audit.layers]
    header = ("layer", "kind", *_PARTS.values(), "energy in integers")
    return table(header, rows, ("total", "", *_cells(audit.total)))


def _cells(operations: Operations) -> tuple[str, ...]:
    numbers = (getattr(operations, field.name) for field in fields(operations))
    counts = (f"{number:,.0f}" if number else "" for number in numbers)
    return (*counts, energy_text(operations.integer_picojoules))


def _notes(total: Operations) -> list[str]:
    return [
        f"Energy in integers: {INTEGER_ADD_PJ} pJ per addition, shift or comparison and "
        f"{INTEGER_MULTIPLY_ACCUMULATE_PJ} pJ per 8-bit multiply-accumulate on a 45 nm chip "
        "(Horowitz 2014). Memory is not counted.",
        f"As the papers count, {energy_text(total.paper_picojoules)}: {ACCUMULATE_PJ} pJ per "
        f"accumulate, {MULTIPLY_ACCUMULATE_PJ} pJ per multiplication, and the rest is free.",
        "The first layer reads the pixels of the image, which are no spikes; it may multiply.",
        "A spike shortcut adds nothing: those who read it accumulate the spikes of both branches.",
    ]
