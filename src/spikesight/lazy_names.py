"""Packages whose names are imported when they are first used."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lazy_loader

TYPE_CHECKING = False
"""As typing's, for commands and configurations: what typing's guards is run by jsonargparse."""


def attach_stub(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package's `__init__.py` needs so that its `__init__.pyi` says where its names live.

    The package's modules are attributes too, imported when they are used, but not of `__all__`.

    Args:
        package: Its `__name__`.
        file: Its `__file__`.

    Returns:
        `__getattr__`, `__dir__` and `__all__` of the package.
    """
    attribute, _, names = lazy_loader.attach_stub(package, file)
    modules = {module.name for module in pkgutil.iter_modules([str(Path(file).parent)])}

    def get(name: str) -> Any:
        if name in modules and name not in names:
            return importlib.import_module(f"{package}.{name}")
        return attribute(name)

    def list_names() -> list[str]:
        return sorted({*names, *modules})

    return get, list_names, names
