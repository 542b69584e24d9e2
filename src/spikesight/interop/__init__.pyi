from .official import load_official, register_official

__all__ = ["load_official", "register_official"]
