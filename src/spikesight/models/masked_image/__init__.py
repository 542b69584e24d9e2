"""Masked-image pre-training of any trunk: hide patches, guess them from the rest."""

from spikesight.models.masked_image.autoencoder import (
    MaskedAutoencoder,
    MaskedImageSizes,
    Reconstruction,
    draw_visible,
)
from spikesight.models.masked_image.decoder import PatchDecoder
from spikesight.models.masked_image.visibility import run_visible

__all__ = [
    "MaskedAutoencoder",
    "MaskedImageSizes",
    "PatchDecoder",
    "Reconstruction",
    "draw_visible",
    "run_visible",
]
