"""Recipes and trained models that come along, found by their names.

In a checkout they are its folders configs/ and weights/; a wheel holds the same files in
spikesight/shipped/, without the weights whose data's licence does not let them travel.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

_RECIPES, _WEIGHTS = "configs", "weights"
_ENDING = ".yaml"
# What `accelerate launch` reads: no recipes.
_OTHERS = "accelerate/"
_WEIGHTS_FILE = "model.safetensors"


@functools.cache
def shipped_folder(kind: str) -> Path | None:
    """Where what comes along lies.

    Args:
        kind: "configs" or "weights".

    Returns:
        The folder; None where there is none.
    """
    package = Path(str(resources.files("spikesight")))
    checkout = package.parents[1]
    places = [package / "shipped" / kind]
    if (checkout / "pyproject.toml").is_file():
        places.append(checkout / kind)
    return next((place for place in places if place.is_dir()), None)


def recipe_names() -> list[str]:
    """The names of the recipes, such as "cifar10_tiny" and "spike2former/voc_1x4"."""
    return sorted(name for name in _files() if not name.startswith(_OTHERS))


def find_recipe(name: str | Path) -> Path | None:
    """The file of a recipe, or of what `accelerate launch` reads.

    Args:
        name: Its name, with or without configs/ in front and .yaml behind.

    Returns:
        The file; None if none has that name.
    """
    plain = Path(name).as_posix().removeprefix(f"{_RECIPES}/").removesuffix(_ENDING)
    return _files().get(plain)


def weights_names() -> list[str]:
    """The names of the trained models, such as "bccd_nano_4bit"."""
    folder = shipped_folder(_WEIGHTS)
    return sorted(file.parent.name for file in folder.glob(f"*/{_WEIGHTS_FILE}")) if folder else []


def find_weights(name: str | Path) -> Path | None:
    """The folder of a trained model.

    Args:
        name: Its name, with or without weights/ in front.

    Returns:
        The folder; None if none has that name.
    """
    plain = Path(name).as_posix().removeprefix(f"{_WEIGHTS}/")
    folder = shipped_folder(_WEIGHTS)
    return folder / plain if folder is not None and plain in weights_names() else None


def nearest(name: str | Path, names: Iterable[str]) -> list[str]:
    """Up to three names that look like one that there is not."""
    plain = Path(name).name.removesuffix(_ENDING).lower()
    by_end = {known.rpartition("/")[2].lower(): known for known in names}
    return [by_end[end] for end in difflib.get_close_matches(plain, by_end, 3, 0.5)]


@functools.cache
def _files() -> dict[str, Path]:
    """Every YAML file below configs/ by its name."""
    folder = shipped_folder(_RECIPES)
    if folder is None:
        return {}
    files = folder.rglob(f"*{_ENDING}")
    return {file.relative_to(folder).as_posix().removesuffix(_ENDING): file for file in files}
