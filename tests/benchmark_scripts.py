"""The scripts of benchmarks/, as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import torch

_FOLDER = str(Path(__file__).parents[1] / "benchmarks")


def load_script(name: str) -> ModuleType:
    """Imports a script with the modules beside it, as Python finds them when it runs it."""
    torch.set_num_threads(1)
    if _FOLDER not in sys.path:
        sys.path.append(_FOLDER)
    return importlib.import_module(name)
