from .energy_report import EnergyReport, energy
from .folding import fold
from .quantization import quantize
from .quantization_recipe import QuantizationRecipe
from .unrolling import SpikeNetwork, unroll
from .verification import Verification, verify

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
