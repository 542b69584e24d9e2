"""Losses: classification, segmentation, masked images, distillation, the price of firing."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
