"""Everything that the page says of one input, the quick parts first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from spikesight.app.speeds import Speeds
from spikesight.app.spike_walk import SpikeWalk, walk_spikes
from spikesight.app.subjects import Subject
from spikesight.app.viewers import Answer, Given
from spikesight.costs.networks import energy
from spikesight.costs.report import EnergyReport
from spikesight.deployment.comparison import Comparison
from spikesight.errors import UserError

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Findings:
    """What is known of one input so far; None is not known yet, text says why it never will be.

    Attributes:
        subject: The model.
        given: What it was shown.
        answer: What it says.
        comparison: Its integers against its spikes, on this very input.
        walk: The spikes of its layers.
        report: Its firing rates and its energy.
        speeds: How long the installed runtimes take.
    """

    subject: Subject
    given: Given
    answer: Answer
    comparison: Comparison | str | None = None
    walk: SpikeWalk | str | None = None
    report: EnergyReport | str | None = None
    speeds: Speeds | str | None = None


def look(subject: Subject, given: Given) -> Iterator[Findings]:
    """Looks at an input.

    Args:
        subject: The model, which is not changed.
        given: The input.

    Yields:
        What is known, more each time; the last is all.

    Raises:
        UserError: If the model cannot take the input.
    """
    found = Findings(subject, given, subject.answer(given))
    network, speeds, x = subject.network, subject.speeds, given.x
    if network is None or speeds is None:
        why = subject.refusal
        yield replace(found, comparison=why, walk=why, report=why, speeds=why)
        return
    yield found
    found = replace(found, comparison=_tried(lambda: network.verify(x)))
    yield found
    found = replace(found, walk=_tried(lambda: walk_spikes(network, x)))
    yield found
    found = replace(found, report=_tried(lambda: energy(network, x)))
    yield found
    yield replace(found, speeds=_tried(lambda: speeds.measure(x)))


def _tried(compute: Callable[[], ResultT]) -> ResultT | str:
    """What is computed, or why it cannot be."""
    try:
        return compute()
    except UserError as error:
        return str(error)
