from .levels import Memory
from .peak import PeakMemory
from .saving import low_memory

__all__ = ["Memory", "PeakMemory", "low_memory"]
