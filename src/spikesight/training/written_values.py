"""What a YAML file's values mean to the fields that they are written for."""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from datetime import date
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from spikesight.errors import UserError

_DECIMAL = re.compile(r"\s*(?:[-+]?(?:0|[1-9][0-9_]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*")


def as_written(kind: type, mapping: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Plain values with what YAML reads otherwise than it was meant put right, or refused.

    YAML 1.1 reads no, off and the like as booleans, digits as numbers and a section without
    fields as null. A false becomes "no" where that is a choice, and an empty section its defaults.

    Args:
        kind: The dataclass that the values are for.
        mapping: The values by field; nested dataclasses as nested mappings.
        section: What messages put before a field, such as "data.".

    Returns:
        The values to build `kind` from.

    Raises:
        UserError: If a boolean, number or date stands where text belongs, or a name is no text.
    """
    hints = get_type_hints(kind)
    settled: dict[str, Any] = {}
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise UserError(
                f"{section or 'the configuration '}has a field called {name!r}, {_called(name)}; "
                "put the name in quotes, or take it out"
            )
        hint = hints.get(name)
        if not is_dataclass(hint):
            settled[name] = _settle(hint, value, section + name)
        elif isinstance(value, dict):
            assert isinstance(hint, type)
            settled[name] = as_written(hint, value, f"{section}{name}.")
        elif value is not None:
            raise UserError(
                f"{section}{name} is {value!r}, but has fields of its own; pass them one by one, "
                f"such as {section}{name}.{next(iter(get_type_hints(hint)))}"
            )
    return settled


def _settle(hint: Any, value: Any, name: str) -> Any:
    kinds = _alternatives(hint)
    if isinstance(value, list):
        items = [get_args(kind)[0] for kind in kinds if get_origin(kind) is list]
        if len(items) == 1:
            return [_settle(items[0], item, f"{name}[{n}]") for n, item in enumerate(value)]
        return value
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if value is False and "no" in choices:
        return "no"
    if isinstance(value, str) and set(kinds) <= {int, float, NoneType}:
        _check_decimal(value, name)
    if not isinstance(value, bool | int | float | date) or value in choices:
        return value
    takes_text = any(isinstance(choice, str) for choice in choices) or {str, Path} & set(kinds)
    if not takes_text or any(kind in kinds for kind in (bool, int, float)):
        return value
    raise UserError(
        f"{name} is {value!r}, {_called(value)}, but text belongs there; put it in quotes as it is "
        "meant, such as " + ('"no" or "yes"' if isinstance(value, bool) else f'"{value}"')
    )


def _check_decimal(text: str, name: str) -> None:
    """Refuses text where a number belongs: 010 and 1:30, which YAML 1.1 takes for 8 and 90."""
    if text[:1] in "+-.0123456789" and not _DECIMAL.fullmatch(text):
        raise UserError(
            f"{name} is {text!r}, text, but a number belongs there; write it in decimal digits, "
            "such as 10 or 1e-3"
        )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _called(value: Any) -> str:
    """What YAML makes of unquoted words, for messages."""
    if isinstance(value, bool):
        return "a boolean (YAML reads yes, no, on and off as such)"
    if isinstance(value, int | float):
        return "a number"
    return "a date" if isinstance(value, date) else "no text"
