"""What was found, as the parts of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from spikesight.app.looking import Findings
from spikesight.app.speeds import Speeds
from spikesight.app.walk_pictures import walk_element
from spikesight.costs.page import rivals_section
from spikesight.costs.report import EnergyReport
from spikesight.deployment.comparison import Comparison
from spikesight.reports.charts import bar_chart, share_bars
from spikesight.reports.page import colour_key, paragraph, percent, section
from spikesight.reports.pictures import photo

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
    drawn = answer.picture is not None
    description = f"{given.name}, with {answer.says}" if drawn else f"{given.name}, as it was read"
    shown = photo(answer.picture if answer.picture is not None else given.seen, description, _SHOWN)
    key = colour_key(answer.colours) if answer.colours else ""
    bars = share_bars(answer.shares) if answer.shares else ""
    who = "" if found.subject.answers_by_integers or found.subject.refusal else _TWO_STAGES
    return _inside(
        f'<section class="answer" aria-live="polite"><figure>{shown}{key}</figure><div>'
        f'<p class="who">{escape(found.subject.name)} sees</p><h2 class="says">'
        f"{escape(answer.says)}</h2>"
        f'<p class="faint">{escape(answer.measure)}</p>{bars}{_badge(found)}{who}</div></section>'
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
        return f'<p class="badge none">Not deployable: {escape(comparison)}</p>'
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
    title = "Spikes of every layer"
    walk = found.walk
    if walk is None:
        return _pending(title, "Running the network as binary spikes …")
    if isinstance(walk, str):
        return _inside(section(title, paragraph(walk, "faint")))
    if not walk.layers:
        return _inside(section(title, paragraph("No layer keeps a map of places.", "faint")))
    return _inside(section(title, walk_element(walk, found.given.seen)))


def rates_part(found: Findings) -> str:
    """Firing rate by layer."""
    title = "Firing rate by layer"
    report = found.report
    if report is None:
        return _pending(title, "Counting spikes …")
    if isinstance(report, str):
        return _inside(section(title, paragraph(report, "faint")))
    return _inside(section(title, _rates(report)))


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


def energy_part(found: Findings) -> str:
    """Energy against its rivals."""
    title = "Energy"
    report = found.report
    if report is None:
        return _pending(title, "Counting operations …")
    if isinstance(report, str):
        return _inside(section(title, paragraph(report, "faint")))
    return _inside(rivals_section(report.under(_PRICES)))


def speed_part(found: Findings) -> str:
    """Latency of each runtime."""
    title = "Latency of each runtime"
    speeds = found.speeds
    if speeds is None:
        return _pending(title, "Building and timing the installed runtimes …")
    if isinstance(speeds, str):
        return _inside(section(title, paragraph(speeds, "faint")))
    return _inside(section(title, _speeds(speeds)))


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


def _pending(title: str, doing: str) -> str:
    return _inside(section(title, f'<p class="faint" role="status">{escape(doing)}</p>'))


def _inside(*bodies: str) -> str:
    """Parts in the style of reports, which holds inside this element alone."""
    return f'<div class="sight">{"".join(bodies)}</div>'
