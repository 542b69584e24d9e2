"""How a network compares with its binary spikes, as part of a page."""

from __future__ import annotations

from spikesight.passes import Verification
from spikesight.reports.page import folded, percent, table


def verification_sentence(verification: Verification) -> str:
    """The outcome in words."""
    compared = sum(check.elements for check in verification.layers)
    dtype = str(verification.dtype).removeprefix("torch.")
    text = (
        f"{compared:,} counts in {len(verification.layers)} neuron layers compared in {dtype}: "
        f"{verification.mismatches:,} mismatches."
    )
    if verification.silent:
        text += (
            f" {len(verification.silent)} layers never fired, so about these it says nothing: "
            f"{', '.join(verification.silent)}."
        )
    else:
        text += " Every layer fired."
    return text


def verification_details(verification: Verification) -> str:
    """All layers as a table that opens when it is clicked."""
    checks = verification.layers
    rows = [
        (
            check.name,
            f"{check.elements:,}",
            f"{check.model_mismatches:,}",
            f"{check.spike_mismatches:,}",
            f"{check.non_binary:,}",
            percent(check.firing_rate),
        )
        for check in checks
    ]
    header = (
        "neuron layer",
        "counts",
        "model differs from graph",
        "graph differs from spikes",
        "neither 0 nor 1",
        "firing rate",
    )
    total = (
        "total",
        f"{sum(check.elements for check in checks):,}",
        f"{sum(check.model_mismatches for check in checks):,}",
        f"{sum(check.spike_mismatches for check in checks):,}",
        f"{sum(check.non_binary for check in checks):,}",
        "",
    )
    return folded("The comparison of every layer", table(header, rows, total))
