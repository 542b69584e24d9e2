"""Authors' checkpoints: official state dicts to models of this library."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
