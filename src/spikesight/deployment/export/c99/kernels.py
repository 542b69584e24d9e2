"""The C text of kernels, from the files in kernels/, for the types that a network has."""

from __future__ import annotations

import re
from importlib.resources import files

from spikesight.deployment.export.c99.integer_types import IntegerType

_INCLUDE = re.compile(r'^#include "(?P<name>[\w.]+)"$')


class Kernels:
    """Those that a network calls, each once and after what it calls itself."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def use(self, kernel: str, **words: IntegerType | str) -> str:
        """Takes a kernel in and returns the name of its function.

        Args:
            kernel: Its file without ".c".
            words: What stands in for the words in capitals of its text: a type, or a part of a
                name.
        """
        names = {word: _suffix(value) for word, value in words.items()}
        self._take(f"{kernel}.c", words)
        return "_".join((f"spk_{kernel}", *names.values()))

    @property
    def text(self) -> str:
        """All of them as C."""
        return "\n".join(self._texts.values())

    def _take(self, file: str, words: dict[str, IntegerType | str]) -> None:
        lines = []
        for line in _read(file).splitlines():
            if found := _INCLUDE.match(line):
                self._take(_fill(found["name"], words), words)
            else:
                lines.append(line)
        text = _fill("\n".join(lines).strip() + "\n", words)
        self._texts.setdefault(text, text)


def _read(file: str) -> str:
    return (files(__package__) / "kernels" / file).read_text(encoding="utf-8")


def _fill(text: str, words: dict[str, IntegerType | str]) -> str:
    for word, value in words.items():
        if isinstance(value, IntegerType):
            text = text.replace(f"{word}_t", value.c_name)
        text = re.sub(rf"(?<![A-Z]){word}(?![A-Z])", _suffix(value), text)
    return text


def _suffix(value: IntegerType | str) -> str:
    return value.suffix if isinstance(value, IntegerType) else value
