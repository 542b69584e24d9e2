"""An integer network, as part of a page."""

from __future__ import annotations

from dataclasses import dataclass

from spikesight.deployment.comparison import Comparison
from spikesight.reports.page import folded, percent, table


@dataclass(frozen=True)
class Deployment:
    """A deployed network and how it does.

    Attributes:
        comparison: Its integers against its spikes and the trained network.
        accuracy: Share of held-out images that it gets right, in percent.
        size: Bytes of its file.
        spike_driven: Whether nothing multiplies beyond the first layer.
    """

    comparison: Comparison
    accuracy: float
    size: int
    spike_driven: bool


@dataclass(frozen=True)
class LowBit:
    """The same network with weights of few bits.

    Attributes:
        bits: Bits of a weight, boundary layers aside.
        accuracy: Share of held-out images that its integer network gets right, in percent.
        mismatches: Counts in which its integers and its spikes differ.
        size: Bytes of its file.
        eight_bit_size: Bytes of the file with 8-bit weights.
        trained_size: Bytes of the trained model's weights in float32.
    """

    bits: int
    accuracy: float
    mismatches: int
    size: int
    eight_bit_size: int
    trained_size: int


def low_bit_sentence(low_bit: LowBit) -> str:
    """The outcome in words."""
    return (
        f"With {low_bit.bits}-bit weights, quantised after training and without training on, it "
        f"reads {low_bit.accuracy:.2f} %, with {low_bit.mismatches:,} mismatches. Bytes: "
        f"{low_bit.trained_size:,} for the trained weights (float32), {low_bit.eight_bit_size:,} "
        f"for the integer network at 8 bits, {low_bit.size:,} at {low_bit.bits}."
    )


def deployment_sentence(deployment: Deployment) -> str:
    """The outcome in words."""
    comparison = deployment.comparison
    compared = sum(layer.elements for layer in comparison.layers)
    driven = (
        "Beyond the first layer nothing multiplies."
        if deployment.spike_driven
        else "Some layers still multiply: spikesight audit names them."
    )
    text = (
        f"Integers against spikes: {comparison.mismatches:,} mismatches in {compared:,} counts. It "
        f"reads {deployment.accuracy:.2f} % of the digits right, and its 8-bit weights and "
        f"thresholds fill {deployment.size:,} bytes. {driven}"
    )
    if comparison.agreement is not None:
        counts = percent(comparison.training_mismatch_rate or 0.0)
        answers = percent(1 - comparison.agreement)
        text += (
            f" Rounding to integers changed {counts} of the trained network's counts and "
            f"{answers} of its answers."
        )
    return text


def deployment_details(deployment: Deployment) -> str:
    """All layers as a table that opens when it is clicked."""
    layers = deployment.comparison.layers
    rows = [
        (
            layer.name,
            f"{layer.elements:,}",
            f"{layer.mismatches['spikes']:,}",
            percent(layer.mismatches["training"] / layer.elements),
            percent(layer.firing_rate),
        )
        for layer in layers
    ]
    header = (
        "neuron layer",
        "counts",
        "integers differ from spikes",
        "integers differ from training",
        "firing rate",
    )
    total = (
        "total",
        f"{sum(layer.elements for layer in layers):,}",
        f"{sum(layer.mismatches['spikes'] for layer in layers):,}",
        percent(deployment.comparison.training_mismatch_rate or 0.0),
        "",
    )
    return folded("The integers of every layer", table(header, rows, total))
