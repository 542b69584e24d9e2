from .conversion import spike_from
from .folding import fold
from .fused_kernels import fused_kernels
from .quantization import quantize
from .quantization_recipe import QuantizationRecipe
from .unrolling import SpikeNetwork, unroll
from .verification import Verification, verify

__all__ = [
    "QuantizationRecipe",
    "SpikeNetwork",
    "Verification",
    "fold",
    "fused_kernels",
    "quantize",
    "spike_from",
    "unroll",
    "verify",
]
