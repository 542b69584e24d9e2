"""What can be the names of classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from spikesight.data.errors import DataError


def check_class_names(classes: Sequence[str], name: str) -> None:
    """Refuses two classes of one name, which no table could tell apart.

    Names that differ in how Unicode composes a letter alone are one name.

    Raises:
        DataError: A name comes twice.
    """
    seen: set[str] = set()
    for number, entry in enumerate(classes):
        composed = unicodedata.normalize("NFC", entry)
        if composed in seen:
            raise DataError(
                f"{name}: the class {entry!r} comes twice, the second time as number {number}; "
                "give each class a name of its own"
            )
        seen.add(composed)
