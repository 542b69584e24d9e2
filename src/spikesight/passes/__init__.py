"""Passes over the graph: each written once and true for every model."""

from spikesight.passes.energy_report import EnergyReport, energy
from spikesight.passes.folding import fold
from spikesight.passes.quantization import QuantizationRecipe, quantize
from spikesight.passes.unrolling import SpikeNetwork, unroll
from spikesight.passes.verification import Verification, verify

__all__ = [
    "EnergyReport",
    "QuantizationRecipe",
    "SpikeNetwork",
    "Verification",
    "energy",
    "fold",
    "quantize",
    "unroll",
    "verify",
]
