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
    times: dict[str, list[float]] = {name: [] for name in forms}
    for round_number in range(rounds + 1):
        for name, call in forms.items():
            began = time.perf_counter()
            call()
            if round_number:
                times[name].append(time.perf_counter() - began)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}
