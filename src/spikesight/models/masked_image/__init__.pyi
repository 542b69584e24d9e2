from .autoencoder import (
    MaskedAutoencoder,
    Reconstruction,
    draw_visible,
)
from .decoder import PatchDecoder
from .sizes import MaskedImageSizes
from .visibility import run_visible

__all__ = [
    "MaskedAutoencoder",
    "MaskedImageSizes",
    "PatchDecoder",
    "Reconstruction",
    "draw_visible",
    "run_visible",
]
