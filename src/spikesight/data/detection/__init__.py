"""Photos with objects: readers of boxes and masks, augmentation and batches."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
