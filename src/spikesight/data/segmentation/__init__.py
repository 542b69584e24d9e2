"""Photos with masks: readers, composed scenes, augmentation and batches."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
