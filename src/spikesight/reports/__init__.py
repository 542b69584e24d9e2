"""Reports: self-contained HTML pages, and the parts that they are made of."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
