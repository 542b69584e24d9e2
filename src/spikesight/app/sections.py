"""What was found, as the parts of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TypeVar

from spikesight.app.looking import Findings
from spikesight.app.speeds import Speeds
from spikesight.app.spike_walk import SpikeWalk
from spikesight.app.walk_pictures import walk_element
from spikesight.costs.page import rivals_section
from spikesight.costs.report import EnergyReport
from spikesight.deployment.comparison import Comparison
from spikesight.reports.charts import bar_chart, share_bars
from spikesight.reports.page import colour_key, paragraph, percent, section
from spikesight.reports.pictures import photo

ValueT = TypeVar("ValueT")
_PRICES = "memory"
_SHOWN = 720  # pixels of the longer side of a picture


def hint(text: str) -> str:
    """What to do first."""
    return _inside(f'<section class="hint">{paragraph(text)}</section>')


def problem(sentence: str) -> str:
    """What went wrong, which is read out at once."""
    return _inside(f'<section class="problem" role="alert">{paragraph(sentence)}</section>')


def waiting(text: str) -> str:
    """What is being done."""
    return _inside(f'<section class="hint" role="status">{paragraph(text)}</section>')


def answer_part(found: Findings) -> str:
    """What the model says, and the proof that it was spikes."""
    answer, given = found.answer, found.given
    if answer.picture is not None:
        shown = photo(answer.picture, f"{given.name}, with {answer.says}", _SHOWN)
    else:
        description = f"{given.name}, as it was read{', frame by frame' if given.film else ''}"
        shown = photo(given.film or given.seen, description, _SHOWN)
    key = colour_key(answer.colours) if answer.colours else ""
    bars = share_bars(answer.shares) if answer.shares else ""
    who = "" if found.subject.answers_by_integers or found.subject.refusal else _TWO_STAGES
    return _inside(
        f'<section class="answer" aria-live="polite"><figure>{shown}{key}</figure><div>'
        f'<p class="who">{escape(found.subject.name)} sees</p><h2 class="says">'
        f"{escape(answer.says)}</h2>{_badge(found)}"
        f'<p class="faint">{escape(answer.measure)}</p>{bars}{who}</div></section>'
    )


_TWO_STAGES = paragraph(
    "The boxes are the trained model's: host code chooses regions between its two stages. The "
    "integers below are those of the network before that.",
    "faint",
)


def _badge(found: Findings) -> str:
    comparison = found.comparison
    if comparison is None:
        return '<p class="badge waits" role="status">Comparing integers with spikes …</p>'
    if isinstance(comparison, str):
        what = "Not deployable" if found.subject.refusal else "Not compared"
        return f'<p class="badge none">{what}: {escape(comparison)}</p>'
    return _proof(comparison)


def _proof(comparison: Comparison) -> str:
    counts = sum(layer.elements for layer in comparison.layers)
    equal = comparison.equal
    title = "integers = spikes" if equal else "integers ≠ spikes"
    return (
        f'<p class="badge {"good" if equal else "bad"}"><b>{title}</b> {counts:,} counts of '
        f"{len(comparison.layers)} layers compared on this input, {comparison.mismatches:,} "
        f"mismatches</p>"
    )


def walk_part(found: Findings) -> str:
    """The spikes of every layer, with a slider."""

    def show(walk: SpikeWalk) -> str:
        if not walk.layers:
            return paragraph("No layer keeps a map of places.", "faint")
        return walk_element(walk, found.given.seen)

    waits = "Running the network as binary spikes …"
    return _part("Spikes of every layer", found.walk, waits, show)


def rates_part(found: Findings) -> str:
    """Firing rate by layer."""
    return _part("Firing rate by layer", found.report, "Counting spikes …", _rates)


def energy_part(found: Findings) -> str:
    """Energy against its rivals."""
    report = found.report
    if report is None or isinstance(report, str):
        return _part("Energy", report, "Counting operations …", str)
    return _inside(rivals_section(report.under(_PRICES)))


def speed_part(found: Findings) -> str:
    """Latency of each runtime."""
    waits = "Building and timing the installed runtimes …"
    return _part("Latency of each runtime", found.speeds, waits, _speeds)


def _part(title: str, value: ValueT | str | None, waits: str, show: Callable[[ValueT], str]) -> str:
    """A section with what was found, why it was not, or what is being done for it."""
    if value is None:
        return _inside(section(title, f'<p class="faint" role="status">{escape(waits)}</p>'))
    said = paragraph(value, "faint") if isinstance(value, str) else show(value)
    return _inside(section(title, said))


def _rates(report: EnergyReport) -> str:
    rates = report.firing_rates
    silent = [name for name, rate in rates.items() if not rate]
    said = "Share of the T × D spikes of a neuron that are 1, on this input."
    if silent:
        said += f" {len(silent)} of {len(rates)} layers are silent."
    values = list(rates.values())
    chart = bar_chart(list(rates), [("spike", values)], percent)
    return paragraph(said, "faint") + (
        f'<div class="tall" tabindex="0" role="group" aria-label="Firing rates">{chart}</div>'
    )


def _speeds(speeds: Speeds) -> str:
    order = sorted(speeds.milliseconds, key=speeds.milliseconds.__getitem__)
    names = [name.removeprefix("integers, ") for name in order]
    values = [speeds.milliseconds[name] for name in order]
    said = (
        f"Medians of alternating rounds on this input, batch 1, up to {speeds.threads} threads of "
        f"{speeds.processor}; every form gives the same logits."
    )
    absent = _listed([line[:1].upper() + line[1:] + "." for line in speeds.absent])
    chart = bar_chart(names, [("spike", values)], lambda ms: f"{ms:.2f} ms")
    return paragraph(said, "faint") + chart + absent


def _listed(lines: Sequence[str]) -> str:
    return "".join(paragraph(line, "faint") for line in lines)


def _inside(*bodies: str) -> str:
    """Parts in the style of reports, which holds inside this element alone."""
    return f'<div class="sight">{"".join(bodies)}</div>'
