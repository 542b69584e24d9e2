"""Masked-image pre-training of any trunk: hide patches, guess them from the rest."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
