"""What configurations chosen for photos share: what was asked for, and what is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spikesight.errors import UserError
from spikesight.files.names import show


def number_of(asked: Mapping[str, str], name: str, chosen: int) -> int:
    """A whole number that the user asked for, or what was chosen.

    Raises:
        UserError: If it is none above 0.
    """
    if name not in asked:
        return chosen
    try:
        number = int(asked[name])
    except ValueError:
        number = 0
    if number < 1:
        raise UserError(f"{name} is {asked[name]}; pass a whole number, 1 or more")
    return number


def run_name(photos: str) -> str:
    """What a run on photos is called: as their folder or tar file; "photos" if that is no name."""
    name = Path(photos).resolve().name.partition(".")[0]
    return "photos" if not name or set(name) & set("*?[]{}") else name


def all_of_it(output: object) -> str:
    """Where the whole configuration is, for the user."""
    return (
        f"all of it will be in {show(str(output))}/config.yaml, with which the run can be repeated"
    )
