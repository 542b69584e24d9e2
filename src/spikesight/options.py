"""Choices, types and finite numbers of options, checked alike for the API and the command line."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from spikesight.errors import UserError

AS_ARGUMENT = "{name}={value!r}"


def check_options(
    options: Any,
    section: str = "",
    error: type[UserError] = UserError,
    *,
    says: str = "{name} is {value!r}",
) -> None:
    """Checks every field of a dataclass against its annotation; for `__post_init__`.

    A `Literal` takes its choices, a number must be finite, of its kind and within the bounds of an
    annotation such as those of `files.ranges`, and what a list, tuple or mapping holds is checked
    likewise. Other ranges are left to the caller, for whom NaN is then gone.

    Args:
        options: The dataclass.
        section: What messages put before the name, such as "data.".
        error: What is raised.
        says: How messages begin; `AS_ARGUMENT` for what is passed by keyword.

    Raises:
        UserError: If a value is none that its field takes; names field, value and remedy.
    """
    kind: Callable[..., Any] = type(options)
    hints = _hints_of(kind)
    for field in fields(options):
        name, value = section + field.name, getattr(options, field.name)
        check_value(name, value, hints[field.name], error, says=says)


def check_arguments(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    section: str = "",
    error: type[UserError] = UserError,
) -> None:
    """Checks the arguments of a function against its annotations, as `check_options` does.

    Args:
        function: Whose annotations say what is right.
        arguments: Values by name; those without an annotation are left out.
        section: What messages put before the name.
        error: What is raised.

    Raises:
        UserError: If a value is none that its argument takes.
    """
    hints = _hints_of(function)
    for name, value in arguments.items():
        if name in hints:
            check_value(section + name, value, hints[name], error)


def check_value(
    name: str,
    value: Any,
    hint: Any,
    error: type[UserError] = UserError,
    *,
    says: str = "{name} is {value!r}",
) -> None:
    """Checks one value against a type annotation.

    Args:
        name: What messages call it.
        value: What was passed.
        hint: The annotation, resolved.
        error: What is raised.
        says: How the message begins.

    Raises:
        UserError: If the annotation does not take the value.
    """
    wanted = _wanted_instead(value, hint)
    if wanted is not None:
        raise error(f"{says.format(name=name, value=value)}; pass {wanted}")


def check_range(
    name: str,
    value: float | None,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    error: type[UserError] = UserError,
) -> None:
    """Checks that a number is finite and within bounds; None passes.

    Args:
        name: What messages call it.
        value: What was passed.
        least: Smallest value that is taken.
        above: What it must exceed.
        most: Largest value that is taken.
        below: What it must stay below.
        error: What is raised.

    Raises:
        UserError: If it is not a finite number within them.
    """
    if value is None:
        return
    check_value(name, value, float, error)
    bounds: dict[str, Any] = {"ge": least, "gt": above, "le": most, "lt": below}
    wanted = _wanted_within(value, Meta(**bounds))
    if wanted is not None:
        raise error(f"{name} is {value}; pass {wanted}")


@lru_cache(maxsize=256)
def _hints_of(owner: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(owner, include_extras=True)


def _wanted_instead(value: Any, hint: Any) -> str | None:
    """What to pass instead of a value; None if the annotation takes it or says nothing."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        wrong = _wanted_instead(value, parts[0])
        return wrong or _first(_wanted_within(value, m) for m in parts[1:] if isinstance(m, Meta))
    if origin is Literal:
        plain = isinstance(value, str | Integral)
        taken = plain and any(
            value == choice and isinstance(value, bool) == isinstance(choice, bool)
            for choice in parts
        )
        return None if taken else f"one of {', '.join(str(choice) for choice in parts)}"
    if origin in (Union, UnionType):
        wanted = [_wanted_instead(value, part) for part in parts]
        return None if None in wanted else ", or ".join(text for text in wanted if text)
    if origin is tuple:
        return _wanted_tuple(value, parts)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return "a mapping of names to values"
        return _first(_wanted_instead(item, parts[1]) for item in value.values())
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if isinstance(value, str) or not isinstance(value, Sequence):
            return "a list"
        wrong = _first(_wanted_instead(item, parts[0]) for item in value)
        return wrong and f"a list whose entries are each {wrong}"
    return _wanted_of_any_kind(value) if hint is Any else _wanted_plain(value, hint)


def _wanted_of_any_kind(value: Any) -> str | None:
    """What to pass instead of a value of any kind, in which numbers are finite all the same."""
    if isinstance(value, Mapping):
        return _first(_wanted_of_any_kind(item) for item in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _first(_wanted_of_any_kind(item) for item in value)
    number = isinstance(value, float)
    return "finite numbers" if number and not math.isfinite(value) else None


def _wanted_within(value: Any, bounds: Meta) -> str | None:
    """What to pass instead of a number; None if it is within the bounds."""
    limits = [
        (bounds.ge, operator.ge, "{} or more"),
        (bounds.gt, operator.gt, "more than {}"),
        (bounds.le, operator.le, "at most {}"),
        (bounds.lt, operator.lt, "less than {}"),
    ]
    given = [(bound, holds, text) for bound, holds, text in limits if bound is not None]
    if all(holds(value, bound) for bound, holds, _ in given):
        return None
    return ", ".join(text.format(bound) for bound, _, text in given)


def _wanted_tuple(value: Any, parts: tuple[Any, ...]) -> str | None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return "a list of numbers" if parts[0] in (int, float) else "a list"
    if parts[-1] is ...:
        wrong = _first(_wanted_instead(item, parts[0]) for item in value)
        return wrong and f"a list whose entries are each {wrong}"
    if len(value) != len(parts):
        return f"a list of {len(parts)} values"
    wrong = _first(_wanted_instead(item, part) for item, part in zip(value, parts, strict=True))
    return wrong and f"a list of {len(parts)} values that are each {wrong}"


def _wanted_plain(value: Any, hint: Any) -> str | None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    right: dict[Any, tuple[bool, str]] = {
        NoneType: (value is None, "None (null)"),
        bool: (isinstance(value, bool), "true or false"),
        int: (number and isinstance(value, Integral), "a whole number"),
        float: (number and math.isfinite(value), "a finite number"),
        str: (isinstance(value, str), "a text"),
    }
    if hint in right:
        taken, wanted = right[hint]
        return None if taken else wanted
    if isinstance(hint, type) and is_dataclass(hint) and not isinstance(value, hint):
        return f"a {hint.__name__}"
    return None


def _first(texts: Any) -> str | None:
    return next((text for text in texts if text is not None), None)
