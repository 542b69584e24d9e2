"""The command line's view of what comes along: recipes and trained models."""

from __future__ import annotations

import re
import textwrap
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from spikesight.errors import UserError
from spikesight.files.shipped import (
    find_recipe,
    find_weights,
    nearest,
    recipe_names,
    weights_names,
)

_LONGEST = 110


def recipes_command(name: str = "*") -> None:
    """Lists the recipes and the trained models that come along; prints a recipe.

    A recipe's name goes where `spikesight train` takes a YAML file, a trained model's where other
    commands take the folder of a run.

    Args:
        name: Shell pattern that the names must match; or the name of one recipe, whose YAML text
            is printed, to be changed and kept: spikesight recipes cifar10_tiny > mine.yaml.
    """
    file = find_recipe(name)
    if file is not None:
        print(file.read_text(encoding="utf-8"), end="")
        return
    recipes = [known for known in recipe_names() if fnmatchcase(known, name)]
    models = [known for known in weights_names() if fnmatchcase(known, name)]
    if not recipes and not models:
        near = nearest(name, recipe_names() + weights_names())
        raise UserError(
            f"no recipe and no trained model matches {name!r}; "
            + (f"near: {', '.join(near)}; " if near else "")
            + "pass '*' to see all"
        )
    _print(("recipe", "about", "wants"), [(known, *_recipe(known)) for known in recipes])
    _print(("trained model", "about", "licence"), [(known, *_model(known)) for known in models])


def _print(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from spikesight.files.printing import print_table

    if rows:
        table = Table(Column(titles[0], no_wrap=True), *titles[1:])
        for row in rows:
            table.add_row(*map(Text, row))
        print_table(table)


def _recipe(name: str) -> tuple[str, str]:
    """The first sentence of a recipe, and what it reads."""
    from spikesight.training.config import read_yaml
    from spikesight.training.data_sections import DATA_SECTIONS

    file = find_recipe(name)
    assert file is not None
    comment = re.match(r"(?:#.*\n)*", file.read_text(encoding="utf-8"))
    assert comment is not None
    paragraph = re.sub(r"^#[ \t]*", "", comment[0], flags=re.M).partition("\n\n")[0]
    fields = read_yaml(file)
    section = next(name for name in DATA_SECTIONS if name in fields)
    data: dict[str, Any] = fields[section]
    made_here = data.get("format") in DATA_SECTIONS[section].made_here
    wanted = [
        None if made_here else data.get("path"),
        fields["model"].get("weights"),
        fields.get("distillation", {}).get("teacher"),
    ]
    return _first_sentence(paragraph), ", ".join(filter(None, wanted)) or "no file"


def _model(name: str) -> tuple[str, str]:
    """The first sentence of a model's card, and its licence."""
    folder = find_weights(name)
    assert folder is not None
    head, text = read_model_card(folder)
    said = next((part for part in text.split("\n\n") if not part.startswith("#")), "")
    return _first_sentence(said), str(head.get("license_name") or head.get("license", ""))


def read_model_card(folder: Path) -> tuple[dict[str, Any], str]:
    """What README.md beside a model's weights says: its fields in front, and its text."""
    import yaml

    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), text.strip()


def _first_sentence(text: str) -> str:
    sentence = re.split(r"(?<=\.) ", " ".join(text.split()), maxsplit=1)[0]
    return textwrap.shorten(sentence, _LONGEST, placeholder=" …").rstrip(".:")
