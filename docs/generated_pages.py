"""What pages of the site say of the code itself, written when the site is built.

A page asks for it by a line `<!-- generated: NAME -->`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
import yaml
from msgspec import Meta
from sphinx.application import Sphinx

import spikesight
from spikesight.commands.parser import main
from spikesight.commands.table import COMMANDS
from spikesight.commands.training import TrainOptions
from spikesight.graph.integer_vocabulary import Node

ROOT = Path(__file__).parents[1]
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.M)
_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Example|Examples|Note):$")
_ANY_NUMBER = 2**31 - 1
_PLAIN = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    NoneType: "null",
    Any: "any value",
}


def fill(_: Sphinx, page: str, source: list[str]) -> None:
    """Puts generated text in the place of a page's marks; for Sphinx's event `source-read`.

    Args:
        page: Its name.
        source: Its text, in a list of one.
    """
    source[0] = _MARK.sub(lambda mark: GENERATED[mark[1]](), source[0])


def mark_code(*event: Any) -> None:
    """Marks indented lines of a docstring as code; for autodoc's event of docstrings.

    Args:
        event: The application, kind, name, object and options, and last its lines, which change.
    """
    marked: list[str] = []
    above = ""
    for line in event[-1]:
        indented = line.startswith("    ")
        if indented and marked and not marked[-1] and _begins_code(above):
            marked += ["::", ""]
            above = ""  # what follows belongs to the same block
        if line and not indented:
            above = line
        marked.append(line)
    event[-1][:] = marked


def _begins_code(above: str) -> bool:
    return bool(above) and not above.endswith("::") and not _SECTION.match(above)


def public_names() -> dict[str, list[str]]:
    """The package's public names by the subpackage where they live, as `__init__.pyi` has them."""
    stub = Path(spikesight.__file__).with_suffix(".pyi")
    names: dict[str, list[str]] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            package = (node.module or "").partition(".")[0]
            names.setdefault(package, []).extend(alias.name for alias in node.names)
    return {package: sorted(names[package], key=str.lower) for package in sorted(names)}


def options(kind: Any, section: str = "") -> Iterator[tuple[str, Any, list[Field[Any]]]]:
    """The sections of a configuration: name, dataclass, and the fields that are no sections."""
    hints = get_type_hints(kind, include_extras=True)
    own = [field for field in fields(kind) if not is_dataclass(hints[field.name])]
    yield section, kind, own
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            yield from options(hints[field.name], f"{section}{field.name}.")


def root_page(name: str) -> str:
    """A page that stands beside docs/, with the links that it has from here."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"(?<=[(\"])docs/", "", text)
    for other in ("CONTRIBUTING", "CHANGELOG"):
        text = text.replace(f"]({other}.md", f"]({other.lower()}.md")
    return text


def api() -> str:
    """Every public name, from its docstring."""
    text = []
    for package, names in public_names().items():
        about = inspect.getdoc(importlib.import_module(f"spikesight.{package}")) or ""
        text += [f"## {package}\n", about.partition("\n")[0] + "\n", "```{eval-rst}"]
        for name in names:
            is_class = inspect.isclass(getattr(spikesight, name))
            text.append(f".. auto{'class' if is_class else 'function'}:: spikesight.{name}")
            text.append("   :members:\n" if is_class else "")
        text.append("```\n")
    return "\n".join(text)


def yaml_fields() -> str:
    """Every field of a training run's YAML file: type, default, and what it does."""
    text = []
    for section, kind, own in options(TrainOptions):
        about, says = _docstring(kind)
        text += [f"## {section.rstrip('.') or 'the run'}\n", about + "\n"]
        hints = get_type_hints(kind, include_extras=True)
        for field in own:
            text += [
                f":::{{confval}} {section}{field.name}\n",
                f"*{said(hints[field.name])}*; {_default(field)}\n",
                f"{says[field.name]}\n:::\n",
            ]
    return "\n".join(text)


def commands() -> str:
    """What `--help` of every command says."""
    text = []
    for name, command in COMMANDS.items():
        says = _help(name)
        if name == "train":  # what follows are the sections of the YAML file
            says, _, rest = says.partition("\nWhich model to train:")
            says += "\nexamples:" + rest.partition("\nexamples:")[2]
            link = "The options of its sections, such as `--model.name`: [YAML files](yaml.md).\n"
        else:
            link = ""
        text += [f"## {name}\n", command.summary, link, f"```text\n{says.rstrip()}\n```\n"]
    return "\n".join(text)


def nodes() -> str:
    """The nodes of a .spk file, from their docstrings."""
    kinds = [f".. autoclass:: {kind.__module__}.{kind.__name__}\n" for kind in get_args(Node)]
    return "```{eval-rst}\n" + "\n".join(kinds) + "```\n"


GENERATED: dict[str, Callable[[], str]] = {
    "api": api,
    "yaml": yaml_fields,
    "commands": commands,
    "nodes": nodes,
    "readme": lambda: root_page("README.md"),
    "contributing": lambda: root_page("CONTRIBUTING.md"),
    "changelog": lambda: root_page("CHANGELOG.md"),
}


def said(hint: Any) -> str:
    """A type annotation, as those who write YAML say it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return said(parts[0]) + "".join(_bounds(part) for part in parts[1:])
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in parts)
    if origin in (Union, UnionType):
        return ", or ".join(dict.fromkeys(map(said, parts)))
    if origin is tuple and parts[-1] is not ...:
        same = len(set(parts)) == 1
        return f"list of {len(parts)}: {said(parts[0]) if same else ', '.join(map(said, parts))}"
    if origin in (list, tuple):
        return f"list, each a {said(parts[0])}"
    if origin is dict:
        return "mapping of names to values"
    return _PLAIN[hint]


def _bounds(meta: Any) -> str:
    if not isinstance(meta, Meta):
        return ""
    lower = [f"{meta.ge} or more"] if meta.ge is not None else []
    lower += [f"more than {meta.gt}"] if meta.gt is not None else []
    upper = [f"at most {meta.le}"] if meta.le is not None and meta.le < _ANY_NUMBER else []
    upper += [f"less than {meta.lt}"] if meta.lt is not None else []
    return ", ".join(["", *lower, *upper])


def _default(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        value = field.default_factory()
    elif field.default is MISSING:
        return "must be passed"
    else:
        value = field.default
    written = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
    return f"default `{written}`"


def _docstring(kind: type) -> tuple[str, dict[str, str]]:
    """What a dataclass is, and what its fields are, those of its bases included."""
    about = ""
    says: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if is_dataclass(each):
            parsed = docstring_parser.parse(inspect.getdoc(each) or "")
            about = parsed.short_description or about
            says |= {param.arg_name: param.description or "" for param in parsed.params}
    return about, says


def _help(command: str) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            main([command, "--help"])
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue().replace("\b", "")  # with which jsonargparse hides a blank
