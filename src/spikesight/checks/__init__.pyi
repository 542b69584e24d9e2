from .checking import check
from .report import Answer, CheckReport

__all__ = ["Answer", "CheckReport", "check"]
