"""This library's models among timm's: entered once timm is imported, which takes its time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_entries: dict[str, Callable[..., Any]] = {}
_joined = False


def enter(entry: Callable[..., Any]) -> None:
    """Lets `timm.create_model` know a function that builds a model, under the function's name.

    Args:
        entry: Takes what timm hands over: pretrained and options by keyword.
    """
    _entries[entry.__name__] = entry
    if _joined:
        _register(entry)


def join_when_imported() -> None:
    """Enters all models into timm's registry: now if timm is imported, else when it will be."""
    if "timm" in sys.modules:
        _join()
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())


class _TimmFinder:
    """Finds timm where the other finders do, and enters the models after its import."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's place, for timm alone."""
        if name != "timm":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_join(module: ModuleType) -> None:
            execute(module)
            _join()

        spec.loader.exec_module = execute_and_join  # type: ignore[method-assign]
        return spec


def _join() -> None:
    global _joined
    if _joined:
        return
    importlib.import_module("spikesight.models.families")
    _joined = True
    for entry in _entries.values():
        _register(entry)


def _register(entry: Callable[..., Any]) -> None:
    from timm.models import register_model

    register_model(entry)
