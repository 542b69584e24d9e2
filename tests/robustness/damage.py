"""Damages values, trees and bytes at random, and keeps a note of each damage."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

# Written into a document as they stand: what no library would write.
DEEP = "@deep@"
LONG_NUMBER = "@long@"
_RAW = {
    DEEP: "[" * 20_000 + "]" * 20_000,
    LONG_NUMBER: "9" * 5_000,
}
NUMBERS: list[Any] = [
    *(-1, 0, 1, 2, 3, 7, 255, 256, 65_536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64),
    *(-(2**31) - 1, -(2**63) - 1, 10**30, -0.0, 0.5, -1.5, 1e-300, 1e300, -1e300),
    *(float("nan"), float("inf"), float("-inf"), True, False, None),
]
TEXTS: list[Any] = [
    *(
        "",
        " ",
        "0",
        "-1",
        "1e9",
        "nan",
        "null",
        "no",
        "on",
        "x" * 3_000,
        "\0",
        "\ud800",
        "é",
        "\u2028",
    ),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "/",
        ".",
        "..",
        "a/b",
        "C:\\x",
        "[red]x[/red]",
        "%s{0}",
        "\n",
    ),
    *("<b>&amp;", "!!python/object:os.system", "*a", "&a", "-", "2024-01-01", "0x10", "1_000"),
]
TREES: list[Any] = [
    *([], {}, [[]], [None], [1, 2, 3], [1] * 3_000, {"": 1}, {"a": {"b": []}}, [{}], ["a", 1]),
    *(DEEP, LONG_NUMBER),
]
INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**24)


class Damage:
    """What goes wrong in one input; nothing without a source of random numbers.

    Args:
        random: Decides everything.
    """

    def __init__(self, random: Random | None) -> None:
        self._random = random
        self.notes: list[str] = []

    @property
    def random(self) -> Random:
        """The source of random numbers; a fixed one where nothing goes wrong."""
        return self._random or Random(0)

    @property
    def none(self) -> bool:
        """Whether nothing goes wrong."""
        return self._random is None

    def hits(self, share: float = 0.2) -> bool:
        """Whether a place is damaged."""
        return self._random is not None and self._random.random() < share

    def note(self, text: str) -> None:
        """Keeps in mind what was damaged."""
        self.notes.append(text)

    def pick(self, sound: T, odd: Sequence[T], place: str, share: float = 0.2) -> T:
        """A value, or an odd one in its place."""
        if not self.hits(share):
            return sound
        value = self.random.choice(odd)
        self.note(f"{place}={value!r:.60}")
        return value

    def number(self, sound: Any, place: str, share: float = 0.2) -> Any:
        """A number, or something odd in its place."""
        return self.pick(sound, [*NUMBERS, *NUMBERS, "7", [1]], place, share)

    def one_of(self, **changes: Callable[[], T]) -> T:
        """Carries one of some named changes out."""
        name = self.random.choice(list(changes))
        self.note(name)
        return changes[name]()

    def bytes(self, data: bytes, head: int = 64) -> bytes:
        """Changed bytes; the first ones, which hold headers, change most often."""
        if self._random is None:
            return data
        random = self._random
        content = bytearray(data)
        for _ in range(random.choice([1, 1, 1, 2, 5])):
            end = len(content) if random.random() < 0.5 else min(head, len(content))
            at = random.randrange(end) if end else 0
            content = self._change(content, at, random)
        return bytes(content)

    def _change(self, content: bytearray, at: int, random: Random) -> bytearray:
        kind = random.choice(
            [
                "cut",
                "flip",
                "flip",
                "insert",
                "delete",
                "fill",
                "integer",
                "integer",
                "repeat",
                "swap",
                "append",
                "empty",
                "text",
            ]
        )
        self.note(f"{kind} at {at}")
        length = random.choice([1, 1, 2, 4, 8, 64])
        match kind:
            case "cut":
                del content[at:]
            case "flip":
                for place in {
                    at,
                    *(random.randrange(len(content) or 1) for _ in range(length - 1)),
                }:
                    if place < len(content):
                        content[place] ^= 1 << random.randrange(8)
            case "insert":
                content[at:at] = random.randbytes(length)
            case "delete":
                del content[at : at + length]
            case "fill":
                content[at : at + length] = bytes([random.choice([0, 255, 32])]) * length
            case "integer":
                size, order = random.choice([1, 2, 4, 8]), random.choice(["little", "big"])
                value = random.choice(INTEGERS) % (1 << 8 * size)
                content[at : at + size] = value.to_bytes(size, order)  # type: ignore[arg-type]
            case "repeat":
                content[at:at] = content[at : at + 64] * random.choice([1, 3, 1000])
            case "swap":
                other = random.randrange(len(content) or 1)
                if content:
                    content[at], content[other] = content[other], content[at]
            case "append":
                content += random.randbytes(length * 10)
            case "text":
                content[at : at + length] = random.choice(
                    [b"\xef\xbb\xbf", b"\0", b"\xff\xfe", b"\r\n", b"nan", b"-1", b"99999999999"]
                )
            case _:
                content.clear()
        return content

    def tree(self, sound: Any, spare: Sequence[str] = ()) -> Any:
        """A copy of nested dicts and lists with some places changed.

        Args:
            sound: The tree.
            spare: Keys that stay as they are, with what is below them.
        """
        tree = copy.deepcopy(sound)
        if self._random is None:
            return tree
        for _ in range(self._random.choice([1, 1, 1, 2, 3])):
            places = list(_places(tree, "", spare))
            if places:
                self._change_place(*self._random.choice(places), places)
        return tree

    def _change_place(self, holder: Any, key: Any, path: str, places: list[Any]) -> None:
        random = self.random
        kind = random.choice(
            [
                "number",
                "number",
                "text",
                "tree",
                "nudge",
                "borrow",
                "delete",
                "repeat",
                "rename",
                "wrap",
                "sign",
                "as text",
            ]
        )
        value = holder[key]
        match kind:
            case "delete":
                del holder[key]
            case "borrow":
                other, place, _ = random.choice(places)
                holder[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
            case "nudge" if type(value) in (int, float):
                holder[key] = value + random.choice([-1, 1])
            case "sign" if type(value) in (int, float):
                holder[key] = -value
            case "as text":
                holder[key] = str(value)[:200]
            case "wrap":
                holder[key] = [value] if random.random() < 0.7 else {"a": value}
            case "repeat" if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(value))
            case "rename" if isinstance(holder, dict):
                holder[random.choice(["", "extra", f"{key}s", f" {key}", str(key).upper()])] = (
                    holder.pop(key)
                )
            case "text":
                holder[key] = random.choice(TEXTS)
            case "tree":
                holder[key] = copy.deepcopy(random.choice(TREES))
            case _:
                holder[key] = random.choice(NUMBERS)
        now = repr(holder[key])[:60] if key in _keys(holder) else "gone"
        self.note(f"{kind} {path} -> {now}")

    def json(self, sound: Any, spare: Sequence[str] = ()) -> bytes:
        """A JSON text of a changed tree, or a changed text."""
        if self.hits(0.15):
            return self.bytes(json.dumps(sound).encode())
        return self.document(json.dumps(self.tree(sound, spare)))

    def document(self, text: str) -> bytes:
        """The bytes of a JSON or YAML text, at times in another way than is usual."""
        for mark, raw in _RAW.items():
            text = text.replace(f'"{mark}"', raw).replace(f"'{mark}'", raw)
        if not self.hits(0.15):
            return text.encode("utf-8", "surrogatepass")
        return self.one_of(
            mark=lambda: b"\xef\xbb\xbf" + text.encode("utf-8", "replace"),
            utf16=lambda: text.encode("utf-16", "replace"),
            latin1=lambda: text.encode("latin-1", "replace") + b"\xe9\xff",
            crlf=lambda: text.replace("\n", "\r\n").encode("utf-8", "replace"),
            twice=lambda: (text + "\n" + text).encode("utf-8", "replace"),
            zeros=lambda: text.encode("utf-8", "replace") + b"\0" * 10,
            key_twice=lambda: _key_twice(text, self.random).encode("utf-8", "replace"),
            bare=lambda: self.random.choice([b"null", b"[]", b"{}", b"1", b'"a"', b"", b"[1, 2]"]),
        )


def _key_twice(text: str, random: Random) -> str:
    places = [at for at, character in enumerate(text) if character == ":"]
    if not places:
        return text
    at = random.choice(places)
    start = max(text.rfind(mark, 0, at) for mark in ("{", ",", "\n")) + 1
    separator = "\n" if "\n" in text else ","
    return text[:start] + text[start:at] + ": 1" + separator + text[start:]


def _keys(holder: Any) -> Any:
    return holder.keys() if isinstance(holder, dict) else range(len(holder))


def _places(tree: Any, path: str, spare: Sequence[str]) -> Iterator[tuple[Any, Any, str]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        if key in spare:
            continue
        yield tree, key, f"{path}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from _places(value, f"{path}.{key}", spare)
