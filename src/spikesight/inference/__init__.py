"""From a segmenter's logits to masks of a photo. Host code: it runs behind a deployed network."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
