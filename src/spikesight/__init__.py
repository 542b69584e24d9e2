"""Spiking vision transformers: train, compress, prove and deploy.

Names are imported when they are first used; `__init__.pyi` says from where.
"""

from spikesight import moved, timm_entries
from spikesight.lazy_names import attach_stub

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

moved.find_old_names()
timm_entries.join_when_imported()
