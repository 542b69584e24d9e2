"""Tables on the screen and in what it is piped to."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

_UNBROKEN = 10_000


def print_table(table: Table) -> None:
    """Prints a table: within a terminal's width, elsewhere with every row on one line.

    Args:
        table: Its cells; names that a user chose as `rich.text.Text`, so that they are no markup.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _UNBROKEN
    console.print(table)
