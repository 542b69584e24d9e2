from .autoencoder import (
    MaskedAutoencoder,
    MaskedImageSizes,
    Reconstruction,
    draw_visible,
)
from .decoder import PatchDecoder
from .visibility import run_visible

__all__ = [
    "MaskedAutoencoder",
    "MaskedImageSizes",
    "PatchDecoder",
    "Reconstruction",
    "draw_visible",
    "run_visible",
]
