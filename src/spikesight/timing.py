"""Timing on a machine that others use too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def time_alternating(forms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Medians in milliseconds of forms that take turns, so that noise hits all alike.

    Args:
        forms: What to call, by name; each is called once before the clock runs.
        rounds: Timed calls of each form.

    Returns:
        Milliseconds by name.
    """
    for call in forms.values():
        call()
    times = time_rounds(forms, rounds)
    return {name: statistics.median(values) for name, values in times.items()}


def time_rounds(
    forms: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds of every round, in which each form has its turn.

    Args:
        forms: What to call, by name; nothing is called before the clock runs.
        rounds: Calls of each form.
        clock: Says the time in seconds.

    Returns:
        Milliseconds by name, round by round.
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, call in forms.items():
            began = clock()
            call()
            times[name].append(1e3 * (clock() - began))
    return times
