"""Which of a set's classes are read."""

from __future__ import annotations

from collections.abc import Sequence

from spikesight.data.errors import DataError
from spikesight.data.segmentation.scene import ClassTable, table_of


def chosen_classes(
    present: Sequence[str], asked: Sequence[str] | None, name: str, *, complete: bool = False
) -> ClassTable:
    """The table of the classes that are read; all of them are things.

    Args:
        present: Those that a set has.
        asked: Those that are asked for, in this order; None asks for all.
        name: What messages call the set.
        complete: Whether `present` lists them all, so that others cannot come.

    Raises:
        DataError: There is none, or one that is asked for is not there.
    """
    if complete and asked is not None:
        lost = [label for label in asked if label not in present]
        if lost:
            raise DataError(
                f"{name}: has no class {lost[0]!r}; pass objects.class_names out of "
                f"{', '.join(present[:20])}"
            )
    names = tuple(present if asked is None else asked)
    if not names:
        raise DataError(f"{name}: names no class; complete the annotations")
    return table_of(names, tuple(range(len(names))))
