"""Spiking vision transformers: train, compress, prove and deploy.

Names are imported when they are first used; `__init__.pyi` says from where.
"""

import pkgutil

import lazy_loader

from spikesight import timm_entries

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_modules = {module.name for module in pkgutil.iter_modules(__path__)}
__all__ = [name for name in __all__ if name not in _modules]

timm_entries.join_when_imported()
