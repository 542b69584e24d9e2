"""JSON and YAML that others wrote: read within limits, checked against a type, field by field.

A document's type is a dataclass, a TypedDict, a `msgspec.Struct` or anything else that msgspec
knows. What does not fit is refused with the name of the file and of the field. Refused everywhere
are NaN and infinity, whole numbers of more than 64 bits, a key given twice, fields that the type
does not have (except of structs that say otherwise), and nesting deeper than any document needs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from spikesight.errors import FileError, UserError
from spikesight.files.limits import DOCUMENT_BYTES, YAML_BYTES, Limit
from spikesight.files.names import show
from spikesight.files.opening import decode_text, read_bytes

T = TypeVar("T")

_MOST_VALUES = 20_000  # of a YAML file
_THOROUGHLY_READ = 4 * 2**20
_DEEPEST = 40
_LARGEST_INTEGER = 2**63 - 1

_TOO_DEEP = "is nested deeper than any document needs"
_UNKNOWN = "is no field that is known here: misspelt, or of a newer version of spikesight"
_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "object": "fields with values",
    "array": "a list",
}


class _Fault(Exception):  # noqa: N818  never leaves this module
    """What is wrong, and where."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.place = place


def read_json(
    path: Path,
    kind: type[T],
    *,
    remedy: str,
    limit: Limit = DOCUMENT_BYTES,
    finite: bool = True,
    deepest: int = _DEEPEST,
    error: type[UserError] = FileError,
) -> T:
    """Reads a JSON file.

    Fields given twice are looked for in files up to 4 MiB, and fields that a dataclass does not
    have; larger ones become the type as they are parsed, so that they take little memory.

    Args:
        path: The file, in UTF-8 with or without byte order mark.
        kind: What it holds.
        remedy: What helps against a damaged file, for the message.
        limit: The largest file that is read.
        finite: Whether NaN, infinity and characters of number 0 are refused.
        deepest: Most levels of nesting.
        error: What is raised.

    Raises:
        UserError: If it cannot be read, is damaged or does not hold that.
    """
    content, name = read_bytes(path, limit, error), show(path)

    def parse() -> T:
        if len(content) > _THOROUGHLY_READ:
            return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=kind)
        value = _parse_json(decode_text(content, name, error))
        return _converted(value, kind, finite, deepest)

    return _guarded(parse, name, remedy, error)


def parse_json(
    text: str, kind: type[T], name: str, *, remedy: str, error: type[UserError] = FileError
) -> T:
    """Is `read_json` for text from within another file, which messages call `name`."""
    return _guarded(lambda: _converted(_parse_json(text), kind), name, remedy, error)


def read_yaml(
    path: Path, kind: type[T], *, remedy: str = "correct it", error: type[UserError] = FileError
) -> T:
    """Reads a YAML file; an empty one has no fields. Arguments and errors as of `read_json`."""
    name = show(path)
    text = decode_text(read_bytes(path, YAML_BYTES, error), name, error)
    return _guarded(lambda: _converted(_parse_yaml(text) or {}, kind), name, remedy, error)


def check(
    value: object,
    kind: type[T],
    name: str,
    *,
    remedy: str = "correct it",
    error: type[UserError] = UserError,
) -> T:
    """Turns plain values into a type, as `read_json` does with a file's.

    Args:
        value: Nested dictionaries, lists, numbers and texts.
        kind: What they should be.
        name: Where they come from, for the message; may be empty.
        remedy: What helps against values that do not fit.
        error: What is raised.

    Raises:
        UserError: If they do not fit.
    """
    return _guarded(lambda: _converted(value, kind), name, remedy, error)


@contextmanager
def named(*paths: str | Path) -> Iterator[None]:
    """Puts the file in front of what is said about its fields within the with block.

    Raises:
        UserError: Where the block raises one.
    """
    try:
        yield
    except UserError as error:
        names = [show(path) for path in paths]
        if not names or any(name in str(error) for name in names):
            raise
        raise UserError(f"{', '.join(names)}: {error}") from error


def _guarded(work: Callable[[], T], name: str, remedy: str, error: type[UserError]) -> T:
    """Calls `work`, whose every complaint becomes one with a file, a field and a remedy."""
    cause: Exception
    try:
        return work()
    except _Fault as fault:
        problem, place, cause = str(fault), fault.place, fault
    except msgspec.ValidationError as fault:
        if isinstance(fault.__cause__, UserError):
            # A dataclass refused its fields; its message names them and the remedy.
            raise error(": ".join(filter(None, (name, str(fault.__cause__))))) from fault
        problem, place = _translated(str(fault))
        cause = fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        problem, place, cause = f"is damaged ({fault})", "", fault
    except RecursionError as fault:
        problem, place, cause = _TOO_DEEP, "", fault
    named = filter(None, (name, shortened(place), f"{problem}; {remedy}"))
    raise error(": ".join(named)) from cause


def _translated(message: str) -> tuple[str, str]:
    """What msgspec says in the words of messages here, and the field."""
    problem, _, place = message.partition(" - at ")
    problem = problem[:1].lower() + problem[1:]
    place = re.sub(r"`(key|\$[^`]*)`", lambda found: found[1].removeprefix("$"), place)
    place = place.replace("[...]", ".*").replace("key in ", "a name in ").strip(". ")
    if missing := re.fullmatch(r"object missing required field `(.*)`", problem):
        return "is missing", ".".join(filter(None, (place, missing[1])))
    if unknown := re.fullmatch(r"object contains unknown field `(.*)`", problem):
        return _UNKNOWN, ".".join(filter(None, (place, unknown[1])))
    problem = re.sub(
        r"`([^`]*)`",
        lambda found: " or ".join(_WORDS.get(word, word) for word in found[1].split(" | ")),
        problem,
    )
    problem = problem.replace("invalid enum value", "there is no choice")
    return problem, place


def _converted(value: object, kind: type[T], finite: bool = True, deepest: int = _DEEPEST) -> T:
    _check_values(value, "", finite, deepest)
    _check_names(value, msgspec.inspect.type_info(kind), "")
    return msgspec.convert(value, kind)


def _check_values(value: object, place: str, finite: bool, deepest: int) -> None:
    """Refuses numbers that are none or too large, and deep nesting."""
    if deepest < 0:
        raise _Fault(_TOO_DEEP, place)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(item, f"{place}.{key}" if place else str(key), finite, deepest - 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_values(item, f"{place}[{index}]", finite, deepest - 1)
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _Fault("holds half of a character", place)
    elif isinstance(value, str) and finite and "\0" in value:
        raise _Fault("holds a character of number 0", place)
    elif isinstance(value, float) and finite and not math.isfinite(value):
        raise _Fault(f"is {value}, which is no finite number", place)
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise _Fault("is a whole number of more than 64 bits", place)


def _check_names(value: object, info: msgspec.inspect.Type, place: str) -> None:
    """Refuses fields that a dataclass or TypedDict does not have, which msgspec passes over."""
    if isinstance(info, msgspec.inspect.UnionType):
        for part in info.types:
            _check_names(value, part, place)
    elif isinstance(info, msgspec.inspect.DataclassType | msgspec.inspect.TypedDictType):
        if isinstance(value, dict):
            known = {field.encode_name: field.type for field in info.fields}
            for name, item in value.items():
                at = f"{place}.{name}" if place else str(name)
                if name not in known:
                    raise _Fault(_UNKNOWN, at)
                _check_names(item, known[name], at)
    elif isinstance(info, msgspec.inspect.StructType) and isinstance(value, dict):
        for field in info.fields:
            if field.encode_name in value:
                at = f"{place}.{field.encode_name}" if place else field.encode_name
                _check_names(value[field.encode_name], field.type, at)


def shortened(text: str, most: int = 80) -> str:
    """Text from a file as messages show it: printable, the middle of long ones left out."""
    text = show(text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 4 :]}"


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as fault:
        raise _Fault(
            f"is no JSON ({fault.msg} in line {fault.lineno}, column {fault.colno})"
        ) from fault
    except ValueError as fault:  # Python's limit of a whole number's digits.
        raise _Fault("holds a whole number of more than 64 bits") from fault


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        raise _Fault("is given twice", twice)
    return fields


class _Loader(yaml.SafeLoader):
    """YAML as this library reads it: within limits, 1e-3 a number, dates and 007 text."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = 0
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A value, within the limits; what an alias repeats counts each time."""
        alias = self.check_event(yaml.AliasEvent)
        before, self._depth = self._values, self._depth + 1
        if self._depth > _DEEPEST:
            raise _Fault(_TOO_DEEP)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if not alias:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        elif id(node) not in self._sizes:
            raise _Fault("holds a value that contains itself")
        else:
            self._values += self._sizes[id(node)]
        if self._values > _MOST_VALUES:
            raise _Fault(f"holds more than {_MOST_VALUES:,} values, those of aliases counted")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Fields, each of them once."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in names:
                    raise _Fault(f"is given twice (line {key.start_mark.line + 1})", key.value)
                names.add(key.value)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in ("timestamp", "float", "int")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# As in YAML 1.2: 007 and 12:30 are text, not octal and sexagesimal.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$|[-+]?0x[0-9a-fA-F_]+$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"
        r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def _parse_yaml(text: str) -> object:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as fault:
        raise _Fault(f"is no YAML ({' '.join(str(fault).split())})") from fault
    except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as fault:
        # PyYAML's own, of values that their tag does not allow, such as !!int x.
        raise _Fault(f"holds a value that its tag does not allow ({fault})") from fault
