from .official import load_official

__all__ = ["load_official"]
