"""Authors' checkpoints: official state dicts to models of this library."""

from spikesight.interop.official import load_official

__all__ = ["load_official"]
