"""What is wrong with a network of any library: leaks, states, dead and silent parts."""

from spikesight.lazy_names import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
