"""The skeleton of a report: one self-contained HTML page, and the parts that it is made of.

Every function here takes plain text and returns HTML with that text escaped; only what is called
`body` or `bodies` is HTML already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files


@dataclass(frozen=True)
class Tile:
    """A headline figure.

    Attributes:
        value: The figure, such as "98.3 %".
        label: What it is, in a few words.
        note: A line below, such as what it was measured on.
        tone: Its colour: "spike", "twin", "good", "bad", or "" for that of text.
        wide: Whether it takes the room of two.
    """

    value: str
    label: str
    note: str = ""
    tone: str = ""
    wide: bool = False


def page(title: str, lead: str, *bodies: str) -> str:
    """A whole page, which asks for nothing from outside: style and pictures are inside.

    Args:
        title: Title of the window and heading.
        lead: What it is about, in a sentence or two.
        bodies: Parts of the page.

    Returns:
        The HTML document, for light and dark mode, for desktops and phones.
    """
    style = files("spikesight.reports").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n{paragraph(lead, 'lead')}\n</header>\n"
        + "\n".join(bodies)
        + "\n</main>\n</body>\n</html>\n"
    )


def percent(share: float, decimals: int = 1) -> str:
    """A share as text, such as 0.123 as "12.3 %"."""
    return f"{100 * share:.{decimals}f} %"


def paragraph(text: str, style: str = "") -> str:
    """A paragraph."""
    attribute = f' class="{escape(style)}"' if style else ""
    return f"<p{attribute}>{escape(text)}</p>"


def bullets(items: Sequence[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def tiles(items: Sequence[Tile]) -> str:
    """Headline figures side by side."""
    parts = [
        f'<div class="card {escape(tile.tone)}{" wide" if tile.wide else ""}">'
        f"<b>{escape(tile.value)}</b>"
        f"<span>{escape(tile.label)}</span><small>{escape(tile.note)}</small></div>"
        for tile in items
    ]
    return '<div class="cards">' + "".join(parts) + "</div>"


def section(title: str, *bodies: str) -> str:
    """A part of the page under a heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(bodies) + "\n</section>"


def folded(summary: str, body: str) -> str:
    """A part that opens when it is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] | None = None
) -> str:
    """A table of figures; the first column holds names.

    Args:
        header: Titles of the columns.
        rows: Cells, as many per row as there are titles.
        total: A last row that stands out.
    """
    assert all(len(row) == len(header) for row in [*rows, *([total] if total else [])])
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in header)
    lines = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    foot = f"<tfoot><tr>{_cells(total)}</tr></tfoot>" if total else ""
    return (
        f'<div class="scroll"><table class="data"><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody>{foot}</table></div>"
    )


def _cells(row: Sequence[str]) -> str:
    name, *figures = row
    cells = "".join(f"<td>{escape(figure)}</td>" for figure in figures)
    return f"<td><code>{escape(name)}</code></td>{cells}"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names with what belongs to them."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"<dl>{lines}</dl>"


def commands(steps: Sequence[tuple[str, str]]) -> str:
    """Command lines to copy; a click selects one whole.

    Args:
        steps: What each does, and the line.
    """
    lines = "".join(
        f"<dt>{escape(what)}</dt><dd><code>{escape(line)}</code></dd>" for what, line in steps
    )
    return f'<dl class="commands">{lines}</dl>'


def colour_key(entries: Sequence[tuple[str, tuple[int, int, int]]]) -> str:
    """What the colours of a picture mean.

    Args:
        entries: Names with red, green and blue, 0..255.
    """
    marks = "".join(
        f'<span><i style="background:rgb({red},{green},{blue})"></i>{escape(name)}</span>'
        for name, (red, green, blue) in entries
    )
    return f'<div class="swatches">{marks}</div>'
