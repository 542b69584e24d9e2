"""What configurations chosen for photos share: what was asked for, and what is said."""

from __future__ import annotations

from collections.abc import Mapping

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


def all_of_it(output: object) -> str:
    """Where the whole configuration is, for the user."""
    return (
        f"all of it will be in {show(str(output))}/config.yaml, with which the run can be repeated"
    )
